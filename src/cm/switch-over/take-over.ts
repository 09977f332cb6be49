/**
 * The first start on a node that ran the C++ communication manager (spec/decisions.md 6.2): instances keep their users,
 * nodes, addresses and states, and what was desired last is taken as newly received. The new database appears at once
 * with all of it, or not at all; the old one is left as it is, so that the way back stays open.
 */
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { asAosError, faultPoint, instanceKey, type Logger } from '../../core/index.ts';
import { syncDirectory } from '../../storage/index.ts';
import { InstanceStore } from '../launcher/index.ts';
import { NetworkStore } from '../networks/index.ts';
import { StateStore } from '../storage-state/index.ts';
import { mergeDesired, UpdateStore } from '../updates/index.ts';
import { readTwin, type TwinState } from './read-twin.ts';

const TWIN_FILE = 'cm.db';

export interface TakeOverOptions {
  /** The database that is to be. */
  readonly path: string;
  /** Opens a database with all tables at a path. */
  readonly open: (path: string) => Promise<DatabaseSync>;
  readonly now: Date;
  readonly logger: Logger;
}

/** Does nothing when there is a database already, or none to take over. Never fails: the worst is to start empty. */
export async function takeOver({ path, open, now, logger }: TakeOverOptions): Promise<void> {
  const twin = join(dirname(path), TWIN_FILE);
  if (existsSync(path) || !existsSync(twin)) return;
  const growing = `${path}.taking-over`;
  try {
    await removeDatabase(growing);
    const state = readTwin(twin, logger);
    const database = await open(growing);
    try {
      store(database, state, now);
    } finally {
      // Closing folds the write-ahead log into the file, so that one rename moves all of it.
      database.close();
    }
    faultPoint('cm.take-over.written');
    await rename(growing, path);
    await syncDirectory(dirname(path));
    logger.info(
      { from: twin, instances: state.instances.length, networks: state.networks.networks.length },
      'took over what the former CM knew',
    );
  } catch (error) {
    logger.warn({ from: twin, error: asAosError(error).message }, 'nothing was taken over from the former CM');
    await removeDatabase(growing);
  }
}

async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(path + suffix, { force: true });
}

function store(database: DatabaseSync, state: TwinState, now: Date): void {
  const instances = new InstanceStore(database);
  instances.save({ requests: state.requests, rows: state.instances });
  instances.saveOverrides(state.overrides);
  const states = new StateStore(database);
  for (const quotas of state.quotas) {
    const row = state.instances.find(({ ident }) => instanceKey(ident) === instanceKey(quotas.ident));
    states.put({ ...quotas, uid: row?.uid ?? 0, gid: row?.gid ?? 0 });
  }
  storeNetworks(new NetworkStore(database), state);
  if (state.desired) new UpdateStore(database).accept(mergeDesired(state.desired), 'downloading', now.getTime());
}

function storeNetworks(networks: NetworkStore, { networks: { networks: list, hosts, instances } }: TwinState): void {
  networks.save(networks.load(), {
    networks: new Map(list.map((network) => [network.networkId, network])),
    hosts: new Map(hosts.map((host) => [`${host.networkId}\n${host.nodeId}`, host])),
    // Host names were never stored there: SMs tell them again with their next request.
    instances: new Map(instances.map((one) => [instanceKey(one.ident), { ...one, hosts: [] }])),
    pending: [],
  });
}

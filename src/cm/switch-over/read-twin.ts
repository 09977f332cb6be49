/**
 * What a node that ran the C++ communication manager has in its database (spec/cm.md 10, spec/decisions.md 6.2). It is
 * read once and never written. A part that cannot be read is left out: the cloud and the SMs tell it again.
 */
import { DatabaseSync } from 'node:sqlite';
import {
  asAosError,
  type InstanceIdent,
  type ItemType,
  type Logger,
  parseJson,
  readDocument,
} from '../../core/index.ts';
import { DesiredStatus } from '../../protocol/index.ts';
import type { EnvOverride, InstanceStore } from '../launcher/index.ts';
import type { RunRequest } from '../model.ts';
import { STATE_FILE } from '../storage-state/index.ts';

type StoredLauncher = Parameters<InstanceStore['save']>[0];
export type TwinInstance = StoredLauncher['rows'][number];

export interface TwinQuotas {
  readonly ident: InstanceIdent;
  readonly storageQuota: number;
  readonly stateQuota: number;
  /** Hex. */
  readonly checksum: string;
}

export interface TwinNetworks {
  readonly networks: readonly { readonly networkId: string; readonly subnet: string; readonly vlanId: number }[];
  readonly hosts: readonly { readonly networkId: string; readonly nodeId: string; readonly ip: string }[];
  readonly instances: readonly {
    readonly ident: InstanceIdent;
    readonly networkId: string;
    readonly nodeId: string;
    readonly ip: string;
    readonly exposedPorts: readonly string[];
    readonly dnsServers: readonly string[];
  }[];
}

export interface TwinState {
  readonly desired?: DesiredStatus | undefined;
  readonly instances: readonly TwinInstance[];
  readonly requests: readonly RunRequest[];
  readonly quotas: readonly TwinQuotas[];
  readonly networks: TwinNetworks;
  readonly overrides: readonly EnvOverride[];
}

type Row = Readonly<Record<string, unknown>>;

const NS_PER_MS = 1_000_000;
const BECAUSE = 'it was there before this communication manager was installed';

export function readTwin(path: string, logger: Logger): TwinState {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const rows = (table: string) => {
      const statement = database.prepare(`SELECT * FROM ${table}`);
      // Times are nanoseconds, which no number of JavaScript holds.
      statement.setReadBigInts(true);
      return statement.all() as Row[];
    };
    const part = <T>(what: string, read: () => T, otherwise: T): T => {
      try {
        return read();
      } catch (error) {
        logger.warn({ path, error: asAosError(error).message }, `${what} of the former CM cannot be read`);
        return otherwise;
      }
    };
    const quotas = part('storages and states', () => rows('storagestate').map(readQuotas), []);
    return {
      desired: part('the desired status', () => readDesired(rows('updatemanager')[0]), undefined),
      instances: part('instances', () => rows('launcher_instances').map((row) => readInstance(row, quotas)), []),
      requests: part('run requests', () => rows('launcher_run_requests').map(readRequest), []),
      quotas,
      networks: part(
        'networks',
        () => ({
          networks: rows('networks').map((row) => ({
            networkId: text(row.networkID),
            subnet: text(row.subnet),
            vlanId: Number(row.vlanID),
          })),
          hosts: rows('hosts').map((row) => ({
            networkId: text(row.networkID),
            nodeId: text(row.nodeID),
            ip: text(row.ip),
          })),
          instances: rows('networkmanager_instances').map(readAddress),
        }),
        { networks: [], hosts: [], instances: [] },
      ),
      overrides: part('overridden variables', () => rows('launcher_override_envvars').map(readOverride), []),
    };
  } finally {
    database.close();
  }
}

function readDesired(row: Row | undefined): DesiredStatus | undefined {
  const json = parseJson(text(row?.desiredStatus) || '{}', 'the stored desired status') as object;
  if (Object.keys(json).length === 0) return undefined;
  return readDocument(
    DesiredStatus,
    { ...json, messageType: 'desiredStatus' },
    {
      what: 'the stored desired status',
      lenientScalars: true,
    },
  ).value;
}

function readIdent(row: Row): InstanceIdent {
  return {
    itemId: text(row.itemID),
    subjectId: text(row.subjectID),
    instance: Number(row.instance),
    type: text(row.type) as ItemType,
    preinstalled: Boolean(row.preinstalled),
  };
}

function readQuotas(row: Row): TwinQuotas {
  const checksum = row.stateChecksum instanceof Uint8Array ? Buffer.from(row.stateChecksum).toString('hex') : '';
  return {
    ident: readIdent(row),
    storageQuota: Number(row.storageQuota),
    stateQuota: Number(row.stateQuota),
    checksum,
  };
}

function readInstance(row: Row, quotas: readonly TwinQuotas[]): TwinInstance {
  const ident = readIdent(row);
  const quota = quotas.find(
    (entry) =>
      entry.ident.itemId === ident.itemId &&
      entry.ident.subjectId === ident.subjectId &&
      entry.ident.instance === ident.instance,
  );
  const path = `${ident.itemId}/${ident.subjectId}/${ident.instance}`;
  return {
    ident,
    version: text(row.version),
    ownerId: text(row.ownerID),
    subjectType: text(row.subjectType) === 'user' ? 'user' : 'group',
    isUnitSubject: Boolean(row.isUnitSubject),
    priority: Number(row.priority),
    labels: list<string>(row.labels),
    state: text(row.state) as TwinInstance['state'],
    nodeId: text(row.nodeID),
    prevNodeId: text(row.prevNodeID),
    runtimeId: text(row.runtimeID),
    manifestDigest: text(row.manifestDigest),
    uid: Number(row.uid),
    gid: Number(row.gid),
    stampedAtMs: Number(BigInt(text(row.timestamp) || 0) / BigInt(NS_PER_MS)),
    isPinned: Boolean(row.disableRebalancing),
    storagePath: quota && quota.storageQuota > 0 ? path : '',
    statePath: quota && quota.stateQuota > 0 ? `${path}/${STATE_FILE}` : '',
    because: BECAUSE,
  };
}

function readRequest(row: Row): RunRequest {
  return {
    itemId: text(row.itemID),
    type: text(row.type) as ItemType,
    version: text(row.version),
    ownerId: text(row.ownerID),
    subject: {
      id: text(row.subjectID),
      type: text(row.subjectType) === 'user' ? 'user' : 'group',
      isUnitSubject: Boolean(row.isUnitSubject),
    },
    priority: Number(row.priority),
    numInstances: Number(row.numInstances),
    labels: list<string>(row.labels),
  };
}

function readAddress(row: Row): TwinNetworks['instances'][number] {
  const ports = list<{ protocol: string; port: string | number }>(row.exposedPorts);
  return {
    ident: readIdent(row),
    networkId: text(row.networkID),
    nodeId: text(row.nodeID),
    ip: text(row.ip),
    exposedPorts: ports.map(({ protocol, port }) => `${port}/${protocol}`),
    dnsServers: list<string>(row.dnsServers),
  };
}

function readOverride(row: Row): EnvOverride {
  const variables = list<{ name: string; value: string; ttl?: number }>(row.variables);
  return {
    filter: {
      itemId: text(row.itemID) || undefined,
      subjectId: text(row.subjectID) || undefined,
      instance: text(row.instance) === '' ? undefined : Number(row.instance),
    },
    variables: variables.map(({ name, value, ttl }) => ({
      name,
      value,
      ...(ttl !== undefined && { ttlMs: Math.round(ttl / NS_PER_MS) }),
    })),
  };
}

function text(value: unknown): string {
  return value === null || value === undefined ? '' : String(value);
}

function list<T>(value: unknown): T[] {
  const parsed: unknown = parseJson(text(value) || '[]', 'a list');
  return Array.isArray(parsed) ? (parsed as T[]) : [];
}

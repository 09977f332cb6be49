/**
 * The CM alone. B-06: from a desired status to the full status with every instance active, with service managers that
 * answer at once, over real gRPC and a database on the disk; again with the same items after they were removed.
 * B-08: the same desired status once more, over a real WebSocket: time to the acknowledgement, bytes written, processes.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestUnit } from '../src/cm/launcher/unit-for-tests.ts';
import { FakeCloud } from '../src/cm/link/cloud-for-tests.ts';
import { makeLink } from '../src/cm/link/link-for-tests.ts';
import type { ItemStatus } from '../src/cm/model.ts';
import { fullStatus } from '../src/cm/status/index.ts';
import { desiredStatus } from '../src/cm/updates/desired-for-tests.ts';
import { UPDATE_TABLES, UpdateManager, UpdateStore } from '../src/cm/updates/index.ts';
import { silentLogger } from '../src/core/index.ts';
import type { DesiredStatus, UnitStatus } from '../src/protocol/index.ts';
import { openDatabase } from '../src/storage/index.ts';
import { formatTable, median, ms, type Table } from './table.ts';

const ROUNDS = 5;
const REPETITIONS = 50;

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-cm-'));
const unit = await TestUnit.create({ databaseFile: join(directory, 'launcher.db') });
const database = await openDatabase(join(directory, 'updates.db'), [UPDATE_TABLES], silentLogger);

/** Blobs are on the unit already: what is measured is everything else. */
let items: ItemStatus[] = [];
let told: (status: UnitStatus) => void = () => undefined;
const updates = new UpdateManager({
  store: new UpdateStore(database),
  images: {
    items: () => items,
    download: async (wanted) => {
      const isThere = new Set(items.map(({ itemId }) => itemId));
      for (const { itemId, version, type } of wanted) {
        if (!isThere.has(itemId)) items.push({ itemId, version, type, state: 'pending' });
      }
    },
    install: async (wanted) => {
      items = wanted.map(({ itemId, version, type }) => ({ itemId, version, type, state: 'installed' }));
    },
    updateRules: async () => [],
  },
  launcher: unit.launcher,
  nodes: { state: () => 'provisioned', pause: async () => undefined, resume: async () => undefined },
  unitConfig: unit.config,
  reports: {
    nodeUpdateFailed: () => undefined,
    unitConfigOutcome: () => undefined,
    sendFull: () => told(status()),
  },
  trust: () => ({ certificates: [], chains: [], roots: [], claimedTime: {} }),
  events: { record: () => undefined },
  logger: silentLogger,
});

const status = () =>
  fullStatus({
    unitConfig: unit.config.status(),
    nodes: unit.nodes.nodes(),
    nodeUpdateErrors: new Map(),
    items,
    instances: unit.launcher.statuses(),
    subjects: [],
  });

/** From the desired status to the full status that ends its update. */
async function carryOut(desired: DesiredStatus): Promise<{ readonly took: number; readonly status: UnitStatus }> {
  const begin = performance.now();
  const full = new Promise<UnitStatus>((resolve) => {
    told = resolve;
  });
  updates.accept(desired);
  const reported = await full;
  return { took: performance.now() - begin, status: reported };
}

/** One item, so many instances; each of its own version, so that nothing is known. */
function wanting(itemId: string, count: number): DesiredStatus {
  const desired = desiredStatus({ [itemId]: '1' });
  return { ...desired, instances: desired.instances!.map((entry) => ({ ...entry, numInstances: count })) };
}

async function placing(count: number): Promise<readonly string[]> {
  const [fresh, again]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    const itemId = `item-${count}-${round}`;
    unit.addItem({ itemId, version: '1' });
    for (const times of [fresh, again]) {
      const { took, status } = await carryOut(wanting(itemId, count));
      const active = status.instances?.flatMap(({ instances }) => instances).filter(({ state }) => state === 'active');
      if (active?.length !== count) throw new Error(`${active?.length} of ${count} instances are active`);
      times.push(took);
      await carryOut(desiredStatus({}));
    }
  }
  const limit = count === 100 ? 150 : 300;
  return [`${count}`, ms(median(fresh)), ms(limit), ms(median(again)), ms(limit / 2)];
}

/** What this process has had written to disks so far, bytes. */
const writtenBytes = () => Number(/^write_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))![1]);
/** Page faults of children that have ended: more whenever there was a process. */
const childFaults = () => readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ')[8]!;

async function sameAgain(): Promise<Table> {
  const cloud = await FakeCloud.open();
  const link = makeLink(cloud.discoveryUrl);
  try {
    link.setOpening(async () => status());
    link.handle('desiredStatus', (message, { refused }) => updates.accept(message, refused));
    link.start();
    const session = await cloud.nextSession();
    await session.next();
    const desired = wanting('item-100-0', 100);
    await carryOut(desired);
    const [written, faults] = [writtenBytes(), childFaults()];
    const times: number[] = [];
    for (let repetition = 0; repetition < REPETITIONS; repetition += 1) {
      const begin = performance.now();
      session.send(desired);
      await session.nextAck();
      times.push(performance.now() - begin);
    }
    const children = childFaults() === faults ? 'none' : 'some';
    return {
      title: 'B-08 the same desired status again',
      method: `100 instances; median of ${REPETITIONS} repetitions over a WebSocket on loopback, cloud and CM in one process.`,
      columns: ['acknowledged', 'limit', 'bytes written in all', 'processes'],
      rows: [[ms(median(times)), ms(2), writtenBytes() - written, children]],
    };
  } finally {
    await link.stop();
    await cloud.close();
  }
}

try {
  updates.start();
  unit.connect('main', { runtimeTypes: ['runc'], maxInstances: 1000 });
  await carryOut(desiredStatus({ warm: '1' }));
  await carryOut(desiredStatus({}));
  console.log(
    formatTable({
      title: 'B-06 from desired status to full status, all active',
      method: `Medians of ${ROUNDS} rounds; one scripted service manager over gRPC, blobs already on the unit.`,
      columns: ['instances', 'new', 'limit', 'same again', 'limit '],
      rows: [await placing(100), await placing(256)],
    }),
  );
  console.log(formatTable(await sameAgain()));
} finally {
  await updates.stop();
  await unit.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
}

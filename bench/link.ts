/**
 * Messages per second through the cloud link: each sent, received and acknowledged; over TLS on loopback, cloud and CM in
 * one process. Durable ones are on the disk before they leave.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CloudSession, FakeCloud, makePki } from '../src/cm/link/cloud-for-tests.ts';
import type { CloudLink } from '../src/cm/link/cloud-link.ts';
import { LINK_TABLES, SqliteOutboxStore } from '../src/cm/link/index.ts';
import { makeLink, TestCredentials } from '../src/cm/link/link-for-tests.ts';
import { silentLogger } from '../src/core/index.ts';
import type { Alerts, CloudMessage, UnitStatus } from '../src/protocol/index.ts';
import { openDatabase } from '../src/storage/index.ts';
import { formatTable, median } from './table.ts';

const ROUNDS = 5;
const MESSAGES = 5000;
const DURABLE_MESSAGES = 500;
/** Messages of the cloud that are on their way at the same time; more of one kind than fit are not taken. */
const WINDOW = 50;

const opening: UnitStatus = { messageType: 'unitStatus', isDeltaInfo: false, items: [] };
const overrides: CloudMessage = { messageType: 'overrideEnvVars', items: [] };

const alerts = (message: string): Alerts => ({
  messageType: 'alerts',
  items: [{ timestamp: '2026-05-04T10:21:01.000000Z', tag: 'systemAlert', node: { codename: 'n' }, message }],
});

/** Messages per second of one round. */
async function rate(count: number, round: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await round();
  return (count * 1000) / (performance.now() - begin);
}

async function upward(link: CloudLink, session: CloudSession, count: number, durable: boolean): Promise<void> {
  for (let index = 0; index < count; index += 1) link.send(alerts(`${index}`), { durable });
  for (let index = 0; index < count; index += 1) await session.next();
}

async function downward(session: CloudSession, count: number): Promise<void> {
  for (let at = 0; at < count; at += WINDOW) {
    for (let index = 0; index < WINDOW; index += 1) session.send(overrides);
    for (let index = 0; index < WINDOW; index += 1) await session.nextAck();
  }
}

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-link-'));
const database = await openDatabase(join(directory, 'link.db'), [LINK_TABLES], silentLogger);
const { root, server, online } = await makePki();
const cloud = await FakeCloud.open({ tls: { identity: server, ca: root } });
const link = makeLink(cloud.discoveryUrl, {
  ca: root.pem,
  credentials: new TestCredentials(online),
  store: new SqliteOutboxStore(database),
});
try {
  link.setOpening(async () => opening);
  link.handle('overrideEnvVars', () => undefined);
  link.start();
  const session = await cloud.nextSession();
  await session.next();
  const [up, durable, down]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    up.push(await rate(MESSAGES, () => upward(link, session, MESSAGES, false)));
    durable.push(await rate(DURABLE_MESSAGES, () => upward(link, session, DURABLE_MESSAGES, true)));
    down.push(await rate(MESSAGES, () => downward(session, MESSAGES)));
  }
  const perSecond = (rates: readonly number[]) => `${Math.round(median(rates))}/s`;
  console.log(
    formatTable({
      title: 'Messages through the cloud link',
      method: `Medians of ${ROUNDS} rounds; TLS on loopback, cloud and CM in one process.`,
      columns: ['direction', 'messages'],
      rows: [
        ['unit to cloud', perSecond(up)],
        ['unit to cloud, durable', perSecond(durable)],
        ['cloud to unit', perSecond(down)],
      ],
    }),
  );
} finally {
  await link.stop();
  await cloud.close();
  database.close();
  await rm(directory, { recursive: true, force: true });
}

/** Every page about things whose names mean harm. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { RestParts } from '../rest/parts.ts';
import { type CloudDatabase, openCloudDatabase } from '../store/cloud-database.ts';
import type { Stores } from '../store/stores.ts';
import { layout } from './layout.ts';
import { pageAt } from './page-models.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const OEM = { name: 'operator', role: 'oem', scope: '' } as const;
/** Ends attributes and texts of both kinds, begins an element, and turns the text around. */
const EVIL = `evil"'><img src=x onerror=alert(1)>&lt;\u202e\u0000`;
const LONG = 'W'.repeat(300);
const identity = { codename: EVIL };
const errorInfo = { aosCode: 1, exitCode: 139, message: `${EVIL}${LONG}` };

let directory: string;
let database: CloudDatabase;
let parts: RestParts;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-evil-'));
  const bounds = { maxAgeMs: 1e9, maxCount: 1000, maxBytes: 1e6 };
  database = await openCloudDatabase(
    join(directory, 'cloud.db'),
    { messages: 9, samples: bounds, logs: bounds, alerts: 9 },
    silentLogger,
  );
  await database.write(plantEvil);
  const fleet = { isOnline: () => true };
  parts = { database, fleet, now: () => NOW, restUrl: () => '', pkiDirectory: '' } as unknown as RestParts;
});

/** Writes EVIL wherever a name can stand. */
async function plantEvil(stores: Stores): Promise<void> {
  const model = { modelName: EVIL, modelVersion: EVIL };
  await stores.units.register(
    { systemId: EVIL, ...model, nodes: [], secureData: '{}', requestDigest: EVIL, answer: {} },
    NOW,
  );
  await stores.units.setFleet(EVIL, EVIL);
  await stores.units.setWishes(EVIL, {
    ...(await stores.units.wishes(EVIL)),
    unitConfig: { version: EVIL, formatVersion: '1', nodes: [] } as never,
    envVars: [{ item: { id: EVIL }, variables: [{ name: EVIL, value: EVIL }] }] as never,
  });
  await stores.units.setPicture(EVIL, {
    unitConfig: [{ version: EVIL, state: 'failed', errorInfo }],
    nodes: [
      {
        ...{ identity: { codename: EVIL, title: EVIL }, nodeGroupSubject: identity, maxDmips: 1, totalRam: 1 },
        osInfo: { os: EVIL, version: EVIL },
        cpus: [
          { modelName: EVIL, totalNumCores: 1, totalNumThreads: 1, maxDmips: 1, archInfo: { architecture: EVIL } },
        ],
        attrs: { [EVIL]: EVIL },
        partitions: [{ name: EVIL, types: [EVIL], totalSize: 1 }],
        ...{ state: 'provisioned', isConnected: true, errorInfo },
        runtimes: [
          {
            ...{ identity, runtimeType: EVIL, maxInstances: 0 },
            ...{ archInfo: { architecture: EVIL }, osInfo: { os: EVIL } },
          },
        ],
        resources: [{ name: EVIL, sharedCount: 1 }],
      },
    ],
    items: [{ item: { id: EVIL, type: 'service' }, version: EVIL, state: 'failed', errorInfo }],
    instances: [
      {
        ...{ item: { id: EVIL, type: 'service' }, subject: { id: EVIL }, version: EVIL },
        instances: [{ node: identity, runtime: identity, instance: 0, state: 'failed', errorInfo }],
      },
    ],
    subjects: [identity],
  } as Parameters<typeof stores.units.setPicture>[1]);
  const subject = { id: EVIL, type: 'group', title: EVIL, fleet: EVIL, priority: 0, reported: false } as const;
  await stores.subjects.put(subject);
  await stores.subjects.assign(subject, EVIL);
  await stores.unitSets.put({ name: EVIL, fleet: EVIL, verification: true, units: [EVIL] });
  await stores.users.put(EVIL, 'fleetOwner', EVIL, NOW);
  await stores.history.addChange(OEM, 'PUT', `/api/${EVIL}`, EVIL, NOW);
  await stores.history.addEvent({
    systemId: EVIL,
    at: NOW.toISOString(),
    event: 'log',
    data: { [EVIL]: EVIL, nodes: [EVIL] },
  });
  await stores.alerts.addOwn(EVIL, { tag: 'cloudAlert', message: EVIL }, NOW);
  await stores.logs.addRequest(EVIL, EVIL, { logType: EVIL, itemId: EVIL }, NOW);
  const item = { timestamp: NOW.toISOString(), cpu: 1, ram: 1, download: 1, upload: 1, partitions: [] };
  await stores.samples.add(
    EVIL,
    {
      messageType: 'monitoringData',
      nodes: [{ node: identity, items: [item] }],
      instances: [
        { item: { id: EVIL }, subject: { id: EVIL }, instance: 0, node: identity, itemStates: [], items: [item] },
      ],
    } as unknown as Parameters<typeof stores.samples.add>[1],
    NOW,
  );
}

afterAll(async () => {
  await database.stop();
  await rm(directory, { recursive: true, force: true });
});

const unit = `/units/${encodeURIComponent(EVIL)}`;
const name = encodeURIComponent(EVIL);

test.each([
  ...['/', `/?q=${name}`, '/groups', '/people', unit, `${unit}/monitoring`],
  ...[`${unit}/events`, `${unit}/logs`, `${unit}/logs?show=${name}`, `${unit}/manage`, `${unit}/nodes/${name}`],
  `${unit}/instances/${name}/${name}/0`,
])('[P-13] on %s what comes from outside is text, whatever it says', async (address) => {
  const url = new URL(address, 'https://cloud');
  const page = await database.read((stores) => pageAt(parts, stores, OEM, url));
  const text = layout(page, OEM, 'cloud');
  expect(text).toContain('evil&quot;&#39;&gt;&lt;img');
  expect(text).not.toMatch(/<img|\u202e|evil["']/);
  expect(text).not.toContain('\u0000');
});

/** What many do at the same time: a unit is told last what was written last. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { UnitEvents } from '../model/unit-events.ts';
import type { Authority } from '../pki/authority.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import { openCloudDatabase } from '../store/cloud-database.ts';
import type { Deployment } from '../store/deployments.ts';
import { NodeProvisioning } from './node-provisioning.ts';

const MANY = Array.from({ length: 12 }, (_, index) => index + 1);

describe('while many change what is wanted of a unit at once', () => {
  let cloud: TestCloud;
  let unit: ScriptedUnit;

  beforeAll(async () => {
    cloud = await TestCloud.start();
    await cloud.publish('story', '1.0.0');
  });

  afterAll(() => cloud.close());

  beforeEach(async () => {
    unit = await ScriptedUnit.register(cloud);
    await unit.comeOnline();
  });

  afterEach(() => unit.disconnect());

  /** What the unit was told last of one type. */
  const last = (messageType: string) =>
    unit.inbox.map(({ data }) => data as { messageType: string }).findLast((data) => data.messageType === messageType);

  test('its last desired status says what is stored', async () => {
    const path = `${unit.path}/deployments/story`;
    await Promise.all(MANY.map((numInstances) => cloud.must('PUT', path, { version: '1.0.0', numInstances })));
    const [stored] = await cloud.must<Deployment[]>('GET', `${unit.path}/deployments`);
    const { numInstances } = stored!;
    await eventually(() => last('desiredStatus')).toMatchObject({
      instances: [{ item: { id: 'story' }, numInstances }],
    });
  });

  test('the last state of an instance that it was told is the one that is stored', async () => {
    const path = `${unit.path}/states/story/default/0`;
    await Promise.all(MANY.map((index) => cloud.must('PUT', path, { state: `state ${index}` })));
    const [stored] = await cloud.must<{ state: string; checksum: string }[]>('GET', `${unit.path}/states`);
    await eventually(() => unit.inbox.filter(({ data }) => data.messageType === 'updateState').length).toBe(
      MANY.length,
    );
    expect(last('updateState')).toMatchObject({ state: stored!.state, stateChecksum: stored!.checksum });
  });

  test('its last environment is the one that is stored', async () => {
    const path = `${unit.path}/env-vars`;
    const items = (index: number) => [{ item: { id: 'story' }, variables: [{ name: 'INDEX', value: `${index}` }] }];
    await Promise.all(MANY.map((index) => cloud.must('PUT', path, { items: items(index) })));
    const stored = await cloud.must<{ items: object[] }>('GET', path);
    await eventually(() => unit.inbox.filter(({ data }) => data.messageType === 'overrideEnvVars').length).toBe(
      MANY.length,
    );
    expect(last('overrideEnvVars')).toMatchObject({ items: [{ variables: [{ name: 'INDEX' }] }] });
    expect(JSON.stringify(last('overrideEnvVars'))).toContain(JSON.stringify(stored.items[0]).slice(1, -1));
  });
});

test('a unit that is reset while a certificate of it is signed does not get the certificate', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-cloud-order-'));
  const bounds = { maxAgeMs: 1000, maxCount: 10, maxBytes: 1000 };
  const limits = { messages: 10, samples: bounds, logs: bounds, alerts: 10 };
  const database = await openCloudDatabase(join(directory, 'cloud.db'), limits, silentLogger);
  try {
    const now = () => new Date();
    const registration = {
      ...{ systemId: 'u', modelName: 'demo', modelVersion: '1', nodes: [], secureData: '{}' },
      ...{ requestDigest: 'd', answer: {} },
    };
    await database.write(({ units }) => units.register(registration, now()));
    const issueForUnit = async () => {
      // Signing takes its time; meanwhile somebody resets the unit.
      await database.write(({ units }) => units.reset('u'));
      return { fingerprint: randomBytes(8).toString('hex'), serial: '01', notAfter: now(), chain: '' };
    };
    const nodes = new NodeProvisioning({
      ...{ authority: { issueForUnit } as unknown as Authority, database, events: new UnitEvents(silentLogger) },
      ...{ discoveryUrl: () => '', now, logger: silentLogger },
    });
    expect(await nodes.issue('u', [{ type: 'online', node: { codename: 'main' }, csr: '' }])).toEqual([]);
    expect(await database.read(({ certificates }) => certificates.ofUnit('u'))).toEqual([]);
  } finally {
    await database.stop();
    await rm(directory, { recursive: true, force: true });
  }
});

/** A process that could not hear the others for a while: its units learn what was missed. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { silentLogger } from '../../core/index.ts';
import { decodeCloudMessage, encodeEnvelope, type UnitMessage } from '../../protocol/index.ts';
import { AccessChanges } from '../access/access-changes.ts';
import { SingleProcess } from '../cluster/cluster.ts';
import { UnitEvents } from '../model/unit-events.ts';
import { type CloudDatabase, openCloudDatabase } from '../store/cloud-database.ts';
import { FakeSocket } from './fake-socket-for-tests.ts';
import { Fleet } from './fleet.ts';
import { FleetMember } from './fleet-member.ts';
import type { NodeProvisioning } from './node-provisioning.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const STATUS = { messageType: 'unitStatus', isDeltaInfo: false } as unknown as UnitMessage;

let directory: string;
let database: CloudDatabase;
let fleet: Fleet;
let member: FleetMember;
let access: AccessChanges;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-fleet-'));
  const bounds = { maxAgeMs: 1000, maxCount: 10, maxBytes: 1000 };
  const limits = { messages: 100, samples: bounds, logs: bounds, alerts: 10 };
  database = await openCloudDatabase(join(directory, 'cloud.db'), limits, silentLogger);
  const events = new UnitEvents(silentLogger);
  fleet = new Fleet({
    ...{ database, events, cluster: new SingleProcess(), nodes: {} as NodeProvisioning, blobsUrl: () => '' },
    ...{ times: { ackTimeoutMs: 60_000, transmissions: 1, pingIntervalMs: 60_000 } },
    ...{ logger: silentLogger, now: () => NOW },
  });
  access = new AccessChanges(() => undefined);
  member = new FleetMember(fleet, events, access);
});

afterEach(async () => {
  await fleet.stop();
  await database.stop();
  await rm(directory, { recursive: true, force: true });
});

/** A unit that has told of itself on its link. */
async function online(systemId: string): Promise<FakeSocket> {
  await database.write(({ units }) =>
    units.register(
      { systemId, modelName: 'm', modelVersion: '1', nodes: [], secureData: '{}', requestDigest: 'd', answer: {} },
      NOW,
    ),
  );
  const socket = new FakeSocket();
  await fleet.accept(systemId, socket as unknown as WebSocket, 'here');
  socket.emit('message', encodeEnvelope({ txn: randomUUID(), systemId, createdAt: NOW, data: STATUS }));
  await expect.poll(() => told(socket, systemId)).toContain('desiredStatus');
  return socket;
}

const told = (socket: FakeSocket, systemId: string) =>
  socket.sent.map((frame) => decodeCloudMessage(frame, { systemId }).data.messageType);

test('of an environment that was changed meanwhile a unit is told', async () => {
  const socket = await online('u');
  expect(told(socket, 'u')).not.toContain('overrideEnvVars');
  await database.write(async ({ units }) => units.setWishes('u', { ...(await units.wishes('u')), envVars: [] }));
  member.catchUp();
  await expect.poll(() => told(socket, 'u')).toContain('overrideEnvVars');
});

test('a unit that was reset or deleted meanwhile has its link no longer; others keep theirs', async () => {
  const [reset, deleted, other] = [await online('reset'), await online('deleted'), await online('other')];
  await database.write(async ({ units }) => {
    await units.reset('reset');
    await units.delete('deleted');
  });
  member.catchUp();
  await expect.poll(() => [reset, deleted].map(({ closedWith }) => closedWith)).toEqual([1008, 1008]);
  expect(['reset', 'deleted', 'other'].map((systemId) => fleet.isOnline(systemId))).toEqual([false, false, true]);
  expect(other.closedWith).toBeUndefined();
  expect(told(deleted, 'deleted').filter((type) => type === 'desiredStatus')).toHaveLength(1);
});

test('whoever may have missed that somebody sees less now looks again', () => {
  let looks = 0;
  access.follow(() => {
    looks += 1;
  });
  member.accessChanged();
  member.catchUp();
  expect(looks).toBe(2);
});

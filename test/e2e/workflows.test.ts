/** Workflows of people (spec/product.md 2.2) that no other story walks from end to end. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { iam } from '../../src/api/contracts.ts';
import { Channel, type ClientTls } from '../../src/api/index.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;
const tag = randomBytes(3).toString('hex');
const [TALKER, DRIVER, FORMER] = ['talker', 'driver', 'former'].map((name) => `${name}-${tag}`) as [
  string,
  string,
  string,
];

let world: World;
beforeAll(async () => {
  // Looked at once in a minute by default.
  const cm = { launcher: { checkOverrideEnvVarsPeriod: '1s' } };
  world = await World.create({ unit: { config: { cm } } });
  await world.provision();
}, STORY_MS);
afterAll(() => world?.close(), STORY_MS);

/** Environment of the process of the only instance of an item. */
async function environmentOf(itemId: string): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${await world.pidOf(itemId)}/environ`, 'utf8');
  const lines = text.split('\0').filter(Boolean);
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

/** Messages of a type that the unit has sent to its cloud. */
async function messagesOf(type: string): Promise<unknown[]> {
  const messages = await world.rest.get<unknown[]>(`/api/units/${world.systemId}/messages?limit=1000`);
  return messages.filter((message) => JSON.stringify(message).includes(`"${type}"`));
}

test(
  '[W12] [SM-28] a variable that an operator sets reaches the instance, is confirmed, and goes again',
  async () => {
    await world.publishBusybox(TALKER, '1.0.0');
    await world.deploy(TALKER, '1.0.0');
    const first = await world.pidOf(TALKER);
    expect((await environmentOf(TALKER)).has('LEVEL')).toBe(false);

    const override = (variables: object[]) =>
      world.rest.send('PUT', `/api/units/${world.systemId}/env-vars`, { items: [{ item: { id: TALKER }, variables }] });
    await override([{ name: 'LEVEL', value: 'debug' }]);
    await world.until(
      'the instance has it',
      () => environmentOf(TALKER),
      (environment) => environment.get('LEVEL') === 'debug',
    );
    expect(await world.pidOf(TALKER)).not.toBe(first);
    await world.until(
      'it is confirmed',
      () => messagesOf('overrideEnvVarsStatus'),
      (told) => told.some((message) => JSON.stringify(message).includes('LEVEL')),
    );

    await override([{ name: 'LEVEL', value: 'debug', ttl: new Date(Date.now() + 2000).toISOString() }]);
    await world.until(
      'its time is over',
      () => environmentOf(TALKER),
      (environment) => !environment.has('LEVEL'),
    );
  },
  STORY_MS,
);

test(
  '[W18] [SM-42] [IAM-33] a functional server learns from the secret of an instance what it may do, and nothing after its end',
  async () => {
    await world.publishBusybox(DRIVER, '1.0.0', { permissions: { vis: { 'Vehicle.Speed': 'r' } } });
    await world.deploy(DRIVER, '1.0.0');
    const secret = (await environmentOf(DRIVER)).get('AOS_SECRET')!;

    const tls: ClientTls = { ca: await readFile(world.cloud.layout.rootCa, 'utf8') };
    const channel = new Channel({ address: `localhost:${world.unit.ports.iamPublic}`, tls });
    try {
      const server = channel.client(iam.IAMPublicPermissionsService);
      expect(await server.getPermissions({ secret, functionalServerId: 'vis' })).toMatchObject({
        instance: { itemId: DRIVER },
        permissions: { permissions: { 'Vehicle.Speed': 'r' } },
      });
      await expect(server.getPermissions({ secret, functionalServerId: 'other' })).rejects.toThrow(
        /no instance with this secret has permissions for "other"/,
      );
      await world.must('undeploy', DRIVER, '--unit', world.systemId, '--wait', '60');
      await world.until(
        'the secret opens nothing',
        () =>
          server.getPermissions({ secret, functionalServerId: 'vis' }).then(
            () => undefined,
            (error) => error.code,
          ),
        (code) => code === Code.Internal || code === Code.NotFound,
      );
    } finally {
      await channel.close();
    }
  },
  STORY_MS,
);

test(
  '[W8] [W6] [CM-35] a service goes back to its former version without a download',
  async () => {
    for (const version of ['1.0.0', '2.0.0']) {
      await world.publishBusybox(FORMER, version);
      await world.deploy(FORMER, version);
    }
    expect(await world.versionOf(FORMER)).toBe(`${FORMER} 2.0.0`);
    const asked = (await messagesOf('requestBlobUrls')).length;
    await world.must('rollback', FORMER, '--unit', world.systemId, '--wait', '60');
    await world.untilActive(FORMER, '1.0.0');
    expect(await world.versionOf(FORMER)).toBe(`${FORMER} 1.0.0`);
    expect((await messagesOf('requestBlobUrls')).length).toBe(asked);
  },
  STORY_MS,
);

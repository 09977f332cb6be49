/** Waiting for a deployment, at a cloud in this process, with a unit that says what the test wants. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { TestCloud } from '../cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../cloud/scripted-unit-for-tests.ts';
import { Context } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { aosctl } from './program.ts';
import { Terminal } from './terminal.ts';
import { failuresBefore, waitUntilActive } from './wait-for-item.ts';

const PATIENCE = { timeout: 20_000 };
/** Of the waits; far longer than a test takes. */
const SECONDS = 100;

let cloud: TestCloud;
let unit: ScriptedUnit;
let context: Context;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.publish('web', '1.0.0');
}, 60_000);
afterAll(() => cloud.close());

beforeEach(async () => {
  unit = await ScriptedUnit.register(cloud);
  await unit.comeOnline();
  const silent = { write: () => undefined };
  context = new Context({
    profile: { ...operator(), unit: unit.systemId },
    namesUnit: true,
    output: new Terminal({ stdout: silent, stderr: silent, env: {}, json: false }),
    signal: new AbortController().signal,
  });
  return () => {
    context.close();
    unit.disconnect();
  };
});

function operator() {
  const pki = (name: string) => join(cloud.directory, 'work', 'pki', name);
  const [cert, key] = [pki('operator.pem'), pki('operator-key.pem')];
  return { cloud: cloud.endpoints.restUrl, ca: pki('root.pem'), cert, key };
}

/** The unit tells how its only instance is, and the cloud has heard it. */
async function tell(state: 'active' | 'activating' | 'failed' | 'inactive', message?: string): Promise<void> {
  const errorInfo = message === undefined ? undefined : { aosCode: 1, exitCode: 0, message };
  const instances = [{ instance: 0, node: { codename: 'main' }, runtime: { codename: 'crun' }, state, errorInfo }];
  await unit.acked(
    unit.sendStatus({
      instances: [{ item: { id: 'web' }, subject: { id: 'default' }, version: '1.0.0', instances }],
    }),
  );
}

async function tellItem(type: 'service' | 'component'): Promise<void> {
  await unit.acked(unit.sendStatus({ items: [{ item: { id: 'web', type }, version: '1.0.0', state: 'installed' }] }));
}

const WANTED = { itemId: 'web', version: '1.0.0', numInstances: 1 };

/** Begins to wait, as the commands do: with what was wrong before. */
async function wait(oldFailureSeconds = SECONDS, numInstances = WANTED.numInstances) {
  const before = await failuresBefore(context, 'web');
  let end: unknown;
  const ended = waitUntilActive(context, SECONDS, { ...WANTED, numInstances }, before, oldFailureSeconds).then(
    () => {
      end = 'active';
    },
    (error: unknown) => {
      end = (error as Error).message;
    },
  );
  return { ended, end: () => end };
}

describe('[P-02] waiting for a deployment', () => {
  test('goes on over a failure that is older, until the instance is active', async () => {
    await tell('failed', 'no node is there');
    const waiting = await wait();
    // News of something else do not make it a new one.
    await unit.acked(unit.sendStatus({ subjects: [{ id: 'default' }] }));
    expect(waiting.end()).toBeUndefined();
    await tell('active');
    await vi.waitFor(() => expect(waiting.end()).toBe('active'), PATIENCE);
  });

  test('ends with a failure that was not there before', async () => {
    const waiting = await wait();
    await tell('activating');
    await tell('failed', 'exit code 3');
    await vi.waitFor(() => expect(waiting.end()).toMatch(/instance 0 of web 1\.0\.0 failed: exit code 3/), PATIENCE);
  });

  test.each([
    ['another reason', 'failed', 'exit code 4'],
    ['the same once more, after it was gone', 'activating', 'exit code 3'],
  ] as const)('ends with a failure that comes after an older one: %s', async (_, first, reason) => {
    await tell('failed', 'exit code 3');
    const waiting = await wait();
    // The wait looks once for all news that come close together: until it has seen both.
    await vi.waitFor(async () => {
      await tell(first, first === 'failed' ? reason : undefined);
      await tell('failed', reason);
      expect(waiting.end()).toMatch(new RegExp(`failed: ${reason}`));
    }, PATIENCE);
  });

  test('for none of a service ends when none is left', async () => {
    await tellItem('service');
    await tell('active');
    const waiting = await wait(SECONDS, 0);
    await tell('inactive');
    await vi.waitFor(() => expect(waiting.end()).toBe('active'), PATIENCE);
  });

  test('for a component without a number ends when one is active', async () => {
    await tellItem('component');
    const waiting = await wait(SECONDS, 0);
    await tell('activating');
    expect(waiting.end()).toBeUndefined();
    await tell('active');
    await vi.waitFor(() => expect(waiting.end()).toBe('active'), PATIENCE);
  });

  test('ends with an older failure that stays', async () => {
    await tell('failed', 'no node has the resource');
    const waiting = await wait(0.1);
    await waiting.ended;
    expect(waiting.end()).toMatch(/failed: no node has the resource/);
  });

  test('of no time at all is over, and says so', async () => {
    let said = '';
    const stream = {
      write: (text: string) => {
        said += text;
      },
    };
    const { cloud: url, ca, cert, key } = operator();
    const where = ['--cloud', url, '--ca', ca, '--cert', cert, '--key', key, '--unit', unit.systemId];
    const code = await aosctl([...where, 'deploy', 'web', '--version', '1.0.0', '--wait', '0'], {
      ...{ stdout: stream, stderr: stream, env: {}, signal: new AbortController().signal },
    });
    expect(said).toMatch(/web 1\.0\.0 becoming active did not happen within 0 s/);
    expect(code).toBe(EXIT.timeout);
  });
});

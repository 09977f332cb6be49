/** A real aos-sm whose wall clock is set by years, back and forth: nothing ends, nothing waits, nothing expires by it. */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sm } from '../../src/api/contracts.ts';
import type { ScriptedStream } from '../../src/sm/client/scripted-cm-for-tests.ts';
import { SettableClock } from './settable-clock.ts';
import { buildSm, SmNode } from './sm-node.ts';
import { until } from './until.ts';

const STORY_MS = 120_000;
const YEAR_S = 365 * 24 * 3600;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;
let clock: SettableClock;

beforeAll(async () => {
  built = await buildSm();
  node = await SmNode.create(built.bundle, { monitoring: { pollPeriod: '1s', averageWindow: '1s' } });
  clock = await SettableClock.create(node.directory);
  await node.start(clock.env);
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(built.directory, { recursive: true, force: true });
}, STORY_MS);

/** The date of the next message of measurements, in years from now. */
async function nextMonitoring(stream: ScriptedStream): Promise<number> {
  for (;;) {
    const message = await stream.next();
    if (message.case !== 'instantMonitoring') continue;
    const { seconds = 0n } = message.value.nodeMonitoring?.timestamp ?? {};
    return Math.round((Number(seconds) - Date.now() / 1000) / YEAR_S) || 0;
  }
}

test(
  '[X-21] [R-03] measurements, restarts, updates and the offline time go on while the date jumps by years',
  async () => {
    const { stream } = await node.introduced();
    const itemConfig = { runParameters: { restartInterval: '100ms', startBurst: 100 }, offlineTTL: '1h' };
    const digest = await node.publish({ itemConfig });
    const [a, b] = [node.service('a', digest), node.service('b', digest)];
    expect(await node.update(stream, [a, b])).toEqual({ a: 'active', b: 'active' });
    const { b: steady } = await node.pids();
    for (const cloudStatus of [sm.ConnectionEnum.CONNECTED, sm.ConnectionEnum.DISCONNECTED]) {
      stream.say({ case: 'connectionStatus', value: { $typeName: 'servicemanager.v5.ConnectionStatus', cloudStatus } });
    }
    for (const years of [0, 10, -20, 30, 0]) {
      await clock.set(years * YEAR_S);
      // The first one may have been measured before.
      await nextMonitoring(stream);
      expect(await nextMonitoring(stream)).toBe(years);
      const { a: before } = await node.pids();
      process.kill(before!, 'SIGKILL');
      await until(
        'it is started again',
        () => node.pids(),
        (pids) => pids.a !== undefined && pids.a !== before,
      );
      const one = node.service(`new-${years}`, digest);
      expect(await node.update(stream, [a, b, one])).toMatchObject({ b: 'active', [one.ident.itemId]: 'active' });
      await node.update(stream, [a, b], [one]);
    }
    // The cloud was away for some seconds, whatever the date says: an hour is not over.
    const instances = await node.instances();
    expect(instances.map(({ itemId, state }) => `${itemId} ${state}`).sort()).toEqual(['a active', 'b active']);
    expect((await node.pids()).b).toBe(steady);
  },
  STORY_MS,
);

/**
 * Instances of one aos-sm are started, updated, crashed and stopped over and over, with real containers; the counts
 * are taken with nothing running: after the first cycles, which fill caches, and at the end.
 */
import { instanceId } from '../../src/core/index.ts';
import type { SmNode, WantedService } from '../../test/component/sm-node.ts';
import { until } from '../../test/component/until.ts';
import { type Belongings, countBelongings } from './belongings.ts';

export interface SoakOptions {
  readonly cycles: number;
  /** Cycles before the first count. */
  readonly warmUp: number;
  /** Instances that are there in each cycle. */
  readonly instances: number;
  readonly progress?: (cycle: number, now: Belongings) => void;
}

export interface SoakResult {
  readonly before: Belongings;
  /** With all instances of the last cycle running: shows that what is counted is there at all. */
  readonly during: Belongings;
  readonly after: Belongings;
  readonly starts: number;
  readonly stops: number;
  readonly updates: number;
  readonly crashes: number;
}

/** Progress is told this often. */
const TELL_EVERY = 50;

/** The daemon collects its garbage after 5 s without work (TidyMemory); what stays after that is held. */
const QUIET_MS = 7_000;
/** Memory that moves less than this is taken as still. */
const STILL_BYTES = 1024 * 1024;

/** An instance that falls comes back at once, and may fall often. */
const RUN_PARAMETERS = { startInterval: '1s', startBurst: 100, restartInterval: '20ms' };

export async function soakSm(node: SmNode, options: SoakOptions): Promise<SoakResult> {
  const { cycles, warmUp, instances, progress } = options;
  const done = { starts: 0, stops: 0, updates: 0, crashes: 0 };
  const itemConfig = { runParameters: RUN_PARAMETERS };
  const [one, two] = [
    await node.publish({ itemConfig, files: [{ name: 'version', content: 'one' }] }),
    await node.publish({ itemConfig, files: [{ name: 'version', content: 'two' }] }),
  ];
  const { stream } = await node.introduced();
  const old = Array.from({ length: instances }, (_, index) => node.service(`soak-${index}`, one));
  const changed = old.map((service) => ({ ...service, version: '2.0.0', digest: two }));
  const allActive = Object.fromEntries(old.map(({ ident }) => [ident.itemId, 'active']));

  const ask = async (start: readonly WantedService[], stop: readonly WantedService[], expected: object) => {
    const states = await node.update(stream, start, stop);
    if (JSON.stringify(sorted(states)) !== JSON.stringify(sorted(expected))) {
      throw new Error(`the node tells ${JSON.stringify(states)} instead of ${JSON.stringify(expected)}`);
    }
  };
  const count = () => {
    const { pid, directory, namespace } = node;
    const owner = { pid, directory, namespace, ids: old.map(({ ident }) => instanceId(ident)) };
    const directories = ['work', 'runtime', 'oci', 'states', 'storages'].map((name) => node.at(name));
    return countBelongings(owner, directories);
  };
  /** Helpers end a moment after what they helped with, and garbage is collected when nothing more comes up. */
  const atRest = async () => {
    let [still, since] = [count(), performance.now()];
    return until(
      'the node is at rest',
      () => {
        const now = count();
        if (!isStill(still, now)) [still, since] = [now, performance.now()];
        return { now, stillMs: performance.now() - since };
      },
      ({ stillMs }) => stillMs >= QUIET_MS,
    ).then(({ now }) => now);
  };
  /** The service falls, and is started again by the node alone. */
  const crash = async (itemId: string) => {
    const pid = (await node.pids())[itemId];
    if (pid === undefined) throw new Error(`${itemId} has no process`);
    process.kill(pid, 'SIGKILL');
    await until(
      `${itemId} is back`,
      () => node.instances(),
      (list) =>
        list.some(
          (each) => each.itemId === itemId && each.state === 'active' && each.pid !== undefined && each.pid !== pid,
        ),
    );
  };
  const cycle = async () => {
    await ask(old, [], allActive);
    const during = count();
    const half = Math.ceil(instances / 2);
    const mixed = [...changed.slice(0, half), ...old.slice(half)];
    await ask(mixed, [], allActive);
    await crash(old[0]!.ident.itemId);
    await ask([], mixed, {});
    done.starts += instances;
    done.updates += half;
    done.crashes += 1;
    done.stops += instances;
    return during;
  };

  for (let index = 0; index < warmUp; index += 1) await cycle();
  const before = await atRest();
  let during = before;
  for (let index = 0; index < cycles; index += 1) {
    during = await cycle();
    if ((index + 1) % TELL_EVERY === 0) progress?.(index + 1, count());
  }
  return { before, during, after: await atRest(), ...done };
}

const isStill = (former: Belongings, now: Belongings) =>
  former.processes === now.processes &&
  former.descriptors === now.descriptors &&
  Math.abs(former.privateBytes - now.privateBytes) < STILL_BYTES;

const sorted = (states: object) => Object.entries(states).sort(([a], [b]) => a.localeCompare(b));

/** What there is more of than before, in words; memory and disk within what caches may take. */
export function leaksOf({ before, after }: SoakResult, tolerance: { memory: number; disk: number }): string[] {
  const allowed: Partial<Record<keyof Belongings, number>> = {
    privateBytes: tolerance.memory,
    diskBytes: tolerance.disk,
  };
  return (Object.keys(before) as (keyof Belongings)[])
    .filter((what) => after[what] > before[what] + (allowed[what] ?? 0))
    .map((what) => `${what}: ${before[what]} before, ${after[what]} after`);
}

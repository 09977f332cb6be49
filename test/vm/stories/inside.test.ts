/** Rooms that lean on the kernel, where it has cgroup v2 alone, as on most boards today: their own tests, in a machine. */
import { afterAll, beforeAll } from 'vitest';
import { keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';
import { testsInside } from '../tests-inside.ts';

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.create({ image: unitImage(), name: 'inside', hasCheckout: true });
  await machine.boot();
});

keepTraces(() => [machine]);
afterAll(() => machine?.close());

await testsInside(
  [
    'src/platform/cgroup/cgroups.test.ts',
    'src/sm/runtime/container-runtime.test.ts',
    'src/sm/runtime/inside-container.test.ts',
  ],
  () => machine,
  { timeoutS: 900 },
);

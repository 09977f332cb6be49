/**
 * `npm run soak [-- --cycles 1000 --instances 8]`; needs root. Prints what the node had before and after, and
 * fails when there is more of anything.
 */
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { formatTable } from '../../bench/table.ts';
import { buildSm, SmNode } from '../../test/component/sm-node.ts';
import type { Belongings } from './belongings.ts';
import { leaksOf, soakSm } from './soak-sm.ts';

const MIB = 1024 * 1024;
/** What the garbage of one cycle may come to, however many there are. */
const TOLERANCE = { memory: 8 * MIB, disk: 1 * MIB };

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '300' },
    instances: { type: 'string', default: '4' },
    'warm-up': { type: 'string', default: '50' },
  },
});

const built = await buildSm();
try {
  const node = await SmNode.create(built.bundle, {}, { hasOwnNetwork: true });
  // Asked to end: the daemon and its containers must not stay.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => node.close().finally(() => process.exit(1)));
  }
  try {
    await node.start();
    const result = await soakSm(node, {
      cycles: Number(values.cycles),
      warmUp: Number(values['warm-up']),
      instances: Number(values.instances),
      progress: (cycle, { privateBytes }) =>
        console.log(`${cycle} cycles; memory ${(privateBytes / MIB).toFixed(1)} MiB`),
    });
    const { before, during, after, starts, updates, crashes, stops } = result;
    console.log(
      formatTable({
        title: 'R-07: what a node holds',
        method: `${starts} starts, ${updates} updates, ${crashes} crashes, ${stops} stops; counted with nothing running.`,
        columns: ['what', 'before', 'with instances', 'after'],
        rows: (Object.keys(before) as (keyof Belongings)[]).map((what) => [
          what,
          `${before[what]}`,
          `${during[what]}`,
          `${after[what]}`,
        ]),
      }),
    );
    const leaks = leaksOf(result, TOLERANCE);
    for (const leak of leaks) console.error(`LEAK ${leak}`);
    process.exitCode = leaks.length === 0 ? 0 : 1;
  } finally {
    await node.close();
  }
} finally {
  await rm(built.directory, { recursive: true, force: true });
}

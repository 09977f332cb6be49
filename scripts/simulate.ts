/** `npm run simulate -- --nodes 100 --instances 10000 --days 3`: placement beyond one machine; fails when a promise is broken. */
import { parseArgs } from 'node:util';
import { simulatePlacement } from './simulated-placement.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100' },
    instances: { type: 'string', default: '10000' },
    days: { type: 'string', default: '3' },
    events: { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
  },
});
const result = simulatePlacement({
  nodes: Number(values.nodes),
  instances: Number(values.instances),
  days: Number(values.days),
  eventsPerDay: Number(values.events),
  seed: Number(values.seed),
  report: (line) => console.log(line),
});
console.log(`events          ${result.events}, seed ${values.seed}`);
console.log(`moves           ${result.moves}`);
console.log(`without a place ${result.failures}, summed over all events`);
console.log(`one placement   ${result.medianMs.toFixed(0)} ms median, ${result.longestMs.toFixed(0)} ms longest`);
console.log(`broken promises ${result.violations.length}`);
for (const line of result.violations) console.error(line);
process.exitCode = result.violations.length === 0 ? 0 : 1;

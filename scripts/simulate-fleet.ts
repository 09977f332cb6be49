/** `npm run simulate-fleet -- --units 2000`: what aos-cloud bears on this machine. */
import { parseArgs } from 'node:util';
import { simulateFleet } from './simulated-fleet.ts';

const { values } = parseArgs({
  options: {
    units: { type: 'string', default: '2000' },
    parallel: { type: 'string', default: '32' },
    json: { type: 'boolean', default: false },
  },
});
const result = await simulateFleet({
  ...{ units: Number(values.units), parallel: Number(values.parallel), settleMs: 20_000, patienceMs: 600_000 },
  report: (line) => process.stderr.write(`${line}\n`),
});
if (values.json) {
  console.log(JSON.stringify(result));
} else {
  const {
    memory,
    connectedUnits,
    connectionsPerSecond,
    messagesPerSecond,
    deploymentMs,
    bytesPerIdleUnit,
    cloudBytes,
  } = result;
  console.log(`connected units          ${connectedUnits}, ${connectionsPerSecond.toFixed(0)} per second`);
  console.log(`statuses                 ${messagesPerSecond.toFixed(0)} per second, stored and acknowledged`);
  console.log(`a deployment to all      ${(deploymentMs / 1000).toFixed(1)} s`);
  for (const { units, bytes } of memory) {
    console.log(`memory with ${String(units).padStart(5)} units  ${(bytes / 1024 ** 2).toFixed(0)} MiB`);
  }
  console.log(`memory per idle unit     ${(bytesPerIdleUnit / 1024).toFixed(1)} KiB`);
  console.log(`memory of the cloud      ${(cloudBytes / 1024 ** 2).toFixed(0)} MiB`);
}

/** `npm run bench [name…]`: everything that is measured, or what is named; prints tables. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Parts that others use, not measurements. */
const PARTS = new Set(['container-rivals', 'container-stage', 'main', 'memory', 'proxy-peer', 'step-clock', 'table']);

const all = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.slice(0, -'.ts'.length))
  .filter((name) => !PARTS.has(name));
const names = process.argv.length > 2 ? process.argv.slice(2) : all;
const unknown = names.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  console.error(`nothing is measured under the name ${unknown.join(', ')}; there is: ${all.join(', ')}`);
  process.exit(2);
}
const failed = names.filter((name) => {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.ts`)], { stdio: 'inherit' });
  return status !== 0;
});
for (const name of failed) console.error(`${name} could not be measured`);
process.exitCode = failed.length === 0 ? 0 : 1;

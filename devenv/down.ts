/** `./dev down`: ends what an `up` left behind. With `--all` the state goes too. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { environmentLayout, runningUp } from './environment.ts';
import { removeCloudLeftovers, removeLeftovers } from './leftovers.ts';

const { values } = parseArgs({ options: { all: { type: 'boolean', default: false } } });
const layout = environmentLayout();
const pid = runningUp(layout);
if (pid !== undefined) {
  console.error(`./dev up is running (pid ${pid}); end it with Ctrl-C first`);
  process.exitCode = 1;
} else {
  if (existsSync(layout.unit)) await removeLeftovers(layout.unit);
  if (existsSync(layout.cloud)) await removeCloudLeftovers(layout.cloud);
  await rm(layout.pidFile, { force: true });
  if (values.all) await rm(layout.root, { recursive: true, force: true });
  console.log(
    values.all ? `nothing is left of ${layout.root}` : `nothing runs any more; the state in ${layout.root} is kept`,
  );
}

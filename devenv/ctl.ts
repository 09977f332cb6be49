/** `./dev ctl …`: aosctl with the profile of the development environment. */
import { existsSync } from 'node:fs';
import { aosctl, environmentLayout, runningUp } from './environment.ts';

/** Exit code of aosctl when nobody answers (docs/aosctl.md). */
const UNREACHABLE = 3;

const layout = environmentLayout();
if (existsSync(layout.profile)) {
  // Ctrl-C is for aosctl, which gets it too: it may have something to finish, and says how it ended.
  process.on('SIGINT', () => undefined);
  const exitCode = await aosctl(layout, process.argv.slice(2));
  if (exitCode === UNREACHABLE && runningUp(layout) === undefined)
    console.error('./dev up does not run here; start it');
  process.exitCode = exitCode;
} else {
  console.error(`there is no environment in ${layout.root}; start one with ./dev up`);
  process.exitCode = UNREACHABLE;
}

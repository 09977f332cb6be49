/** `./dev ctl …`: aosctl with the profile of the development environment. */
import { existsSync } from 'node:fs';
import { aosctl, environmentLayout } from './environment.ts';

const layout = environmentLayout();
if (existsSync(layout.profile)) {
  // Ctrl-C is for aosctl, which gets it too: it may have something to finish, and says how it ended.
  process.on('SIGINT', () => undefined);
  process.exitCode = await aosctl(layout, process.argv.slice(2));
} else {
  console.error(`there is no environment in ${layout.root}; start one with ./dev up`);
  process.exitCode = 3;
}

/** aosctl: the command line of operators and developers. */
import { EXIT } from './exit-codes.ts';
import { aosctl } from './program.ts';

/** What ends by itself has done so by then. */
const ENDING_MS = 1000;

const abort = new AbortController();
process.once('SIGINT', () => {
  abort.abort();
  const note = 'aosctl: it waits for an answer, or ends what it has begun; Ctrl-C once more ends it at once\n';
  setTimeout(() => process.stderr.write(note), ENDING_MS).unref();
});
process.once('SIGTERM', () => abort.abort());
// Whoever reads our answer has read enough: `aosctl … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
);
// Whoever reads our notes may go away as well, and what was begun, such as provisioning, goes on.
process.stderr.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.exit(EXIT.failed);
});

async function main(): Promise<void> {
  process.exitCode = await aosctl(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: abort.signal,
  });
}

void main();

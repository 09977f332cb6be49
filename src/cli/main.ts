/** aosctl: the command line of operators and developers. */
import { EXIT } from './exit-codes.ts';
import { aosctl } from './program.ts';

const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
process.once('SIGTERM', () => abort.abort());
// Whoever reads our answer has read enough: `aosctl … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
);

async function main(): Promise<void> {
  process.exitCode = await aosctl(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: abort.signal,
  });
}

void main();

/** The clock of this host. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { asAosError, faultPoint } from '../../core/index.ts';

const run = promisify(execFile);

/** Sets the date of the host. Throws `failed` with the words of the host, which needs root for it. */
export async function setSystemTime(time: Date, signal: AbortSignal): Promise<void> {
  faultPoint('platform.clock.set');
  try {
    await run('date', ['--utc', '--set', `@${(time.getTime() / 1000).toFixed(3)}`], { signal });
  } catch (error) {
    throw asAosError(error, 'cannot set the clock of this node');
  }
}

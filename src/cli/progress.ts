/** How long work goes on, for a person at a terminal (spec/beyond.md P-15). */
import { systemClock } from '../core/index.ts';
import type { Output } from './output.ts';

/** Shorter work is not worth a word; longer gets one now and then. */
const FIRST_MS = 1_000;
const STEP_MS = 1_000;

const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** Takes the bytes that were moved since the last call. `totalBytes` when it is known. */
export function byteReporter(
  output: Pick<Output, 'progress'>,
  verb: string,
  totalBytes?: number,
  monotonicMs: () => number = () => systemClock.monotonicMs(),
): (bytes: number) => void {
  let movedBytes = 0;
  let nextMs = monotonicMs() + FIRST_MS;
  return (bytes) => {
    movedBytes += bytes;
    const nowMs = monotonicMs();
    if (nowMs < nextMs) return;
    nextMs = nowMs + STEP_MS;
    const of = totalBytes === undefined ? '' : ` of ${mebibytes(totalBytes)}`;
    output.progress(`${verb} ${mebibytes(movedBytes)}${of}`);
  };
}

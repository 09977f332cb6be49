/** Tells a person how an upload goes on (spec/beyond.md P-15). */
import type { Output } from '../output.ts';
import type { UploadProgress } from './upload-item.ts';

/** Smaller blobs are not worth a word. */
const LARGE_BYTES = 8 * 1024 * 1024;

const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** One line that changes with each percent of a large blob. */
export function uploadReporter(output: Pick<Output, 'note' | 'progress'>): (progress: UploadProgress) => void {
  const told = new Map<string, number>();
  return ({ digest, sentBytes, totalBytes, state }) => {
    if (totalBytes < LARGE_BYTES) return;
    const name = digest.slice(0, 'sha256:'.length + 12);
    if (state === 'present') output.note(`layer ${name}: ${mebibytes(totalBytes)}, the cloud has it already`);
    if (state !== 'sending') return;
    const percent = Math.floor((100 * sentBytes) / totalBytes);
    if (percent === told.get(digest)) return;
    told.set(digest, percent);
    output.progress(`layer ${name}: ${mebibytes(sentBytes)} of ${mebibytes(totalBytes)} (${percent} %)`);
  };
}

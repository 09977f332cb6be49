/** Whether a downloaded file is the one that was meant (spec/decisions.md C-01). */
import { DownloadMismatch } from './download-mismatch.ts';
import { hashFile } from './file-hash.ts';

/** The checksum is SHA3-256 or SHA-256. Throws `DownloadMismatch`, `canceled`, or what reading fails with. */
export async function checkFile(path: string, checksum: Buffer, signal: AbortSignal): Promise<void> {
  for (const algorithm of ['sha3-256', 'sha256']) {
    if ((await hashFile(path, algorithm, signal)).equals(checksum)) return;
  }
  throw new DownloadMismatch(checksum, path);
}

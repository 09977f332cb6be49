import { AosError } from '../core/index.ts';

/** A download is not the file that was meant; another one may be. */
export class DownloadMismatch extends AosError {
  constructor(expected: Buffer, path: string) {
    // What matters first: sent texts are cut short.
    super('invalidChecksum', `its checksum is wrong: expected ${expected.toString('hex')} for the download ${path}`);
  }
}

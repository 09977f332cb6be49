/** From a downloaded file to a stored blob (spec/cm.md 3.6, spec/cloud-protocol.md 9.6, spec/decisions.md C-01, C-02). */
import { truncate } from 'node:fs/promises';
import { AosError, type Digest, faultPoint, isAosError } from '../core/index.ts';
import type { BlobStore } from './blob-store.ts';
import type { DecryptingIntake } from './decrypting-intake.ts';
import { DownloadMismatch } from './download-mismatch.ts';
import { hashFile } from './file-hash.ts';
import { discardDownload, forgetDownload } from './partial-file.ts';
import { checkSignature, type SignatureTrust, type SignInfo } from './signature.ts';

export interface InstallRequest {
  readonly store: BlobStore;
  readonly digest: Digest;
  /** On the same file system as the store. */
  readonly downloadedFile: string;
  readonly signal: AbortSignal;
}

export interface InstallPlainRequest extends InstallRequest {
  /** Of the file, see `parseChecksum`. */
  readonly checksum?: Buffer | undefined;
  readonly signature?: { readonly info: SignInfo; readonly trust: SignatureTrust } | undefined;
}

/** `mismatch`: the file is not what the server meant to send; another download may help. */
export type InstallOutcome = { readonly stored: true } | { readonly stored: false; readonly mismatch: AosError };

/**
 * Checks and stores a downloaded file, reading it once; memory does not grow with its size. The downloaded file is gone
 * afterwards, except when the work was canceled or a disk failed.
 *
 * Throws for what another download would not cure: `invalidChecksum` when the content is not that of the digest or of
 * the signature, and what `checkSignature` throws.
 */
export function installBlob(request: InstallPlainRequest): Promise<InstallOutcome> {
  return installing(request, () => installPlain(request));
}

/** As `installBlob` for a file that came through an intake, which has seen and judges its content. */
export function installDecrypted(request: InstallRequest, intake: DecryptingIntake): Promise<InstallOutcome> {
  const { store, digest, downloadedFile, signal } = request;
  return installing(request, async () => {
    const { sizeBytes, sha256 } = await intake.finish(downloadedFile, signal);
    // The padding goes; from here on it is not the file of a download any more.
    await forgetDownload(downloadedFile);
    await truncate(downloadedFile, sizeBytes);
    await store.adoptHashed(digest, downloadedFile, sha256, { signal });
  });
}

async function installing({ downloadedFile }: InstallRequest, install: () => Promise<void>): Promise<InstallOutcome> {
  try {
    await install();
    await forgetDownload(downloadedFile);
    return { stored: true };
  } catch (error) {
    if (isFinal(error)) {
      faultPoint('storage.install.discard');
      await discardDownload(downloadedFile);
    }
    if (error instanceof DownloadMismatch) return { stored: false, mismatch: error };
    throw error;
  }
}

async function installPlain(request: InstallPlainRequest): Promise<void> {
  const { store, digest, downloadedFile, checksum, signature, signal } = request;
  const check = signature && checkSignature(signature.info, signature.trust);
  // A plain file whose SHA-256 is meant by the checksum is judged by the digest alone.
  const named = Buffer.from(digest.slice(digest.indexOf(':') + 1), 'hex');
  const judged = checksum && !checksum.equals(named) ? checksum : undefined;
  const hashing = judged && SecondHash.begin(downloadedFile, signal);
  try {
    await store.adopt(digest, downloadedFile, {
      signal,
      observe: check?.update,
      beforeCommit: async () => {
        if (hashing && judged && !(await hashing.result).equals(judged)) {
          throw new DownloadMismatch(judged, downloadedFile);
        }
        check?.verify();
      },
    });
  } finally {
    await hashing?.end();
  }
}

/** The SHA3-256 of a file, made while the file is read for something else. */
class SecondHash {
  readonly result: Promise<Buffer>;
  readonly #over = new AbortController();

  private constructor(path: string, signal: AbortSignal) {
    this.result = hashFile(path, 'sha3-256', AbortSignal.any([signal, this.#over.signal]));
    // Whoever needs it awaits it; until then, and when nobody does any more, nobody listens.
    this.result.catch(() => undefined);
  }

  static begin(path: string, signal: AbortSignal): SecondHash {
    return new SecondHash(path, signal);
  }

  /** Nothing of it runs on afterwards. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.result.catch(() => undefined);
  }
}

/** SHA3-256 or SHA-256 in 64 hex digits, or base64 of 32 bytes. Throws `invalidArgument`. */
export function parseChecksum(text: string): Buffer {
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (bytes.length === 32 && text.length >= 43) return bytes;
  throw new AosError('invalidArgument', `checksum "${text}" is neither 64 hex digits nor base64 of 32 bytes`);
}

/** The file is of no use any more: the same file would fail in the same way. */
function isFinal(error: unknown): boolean {
  return isAosError(error) && ['invalidChecksum', 'invalidArgument', 'notSupported', 'notFound'].includes(error.code);
}

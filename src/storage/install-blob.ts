/** From a downloaded file to a stored blob (spec/cm.md 3.6, spec/cloud-protocol.md 9.6, spec/decisions.md C-01, C-02). */
import { timingSafeEqual } from 'node:crypto';
import { AosError, type Digest, faultPoint, isAosError } from '../core/index.ts';
import type { BlobStore } from './blob-store.ts';
import { scanFile } from './chunks.ts';
import { type DecryptInfo, decrypt } from './decrypt.ts';
import { hashFile } from './file-hash.ts';
import { discardDownload, forgetDownload } from './partial-file.ts';
import { checkSignature, type SignatureTrust, type SignInfo } from './signature.ts';

export interface InstallRequest {
  readonly store: BlobStore;
  readonly digest: Digest;
  /** On the same file system as the store. */
  readonly downloadedFile: string;
  /** SHA3-256 or SHA-256 of the file as it was downloaded, in hex or base64. */
  readonly checksum?: string | undefined;
  readonly decryptInfo?: DecryptInfo | undefined;
  readonly signature?: { readonly info: SignInfo; readonly trust: SignatureTrust } | undefined;
  readonly signal: AbortSignal;
  /** How many bytes of a second, decrypted file have been made so far. */
  readonly onStored?: ((bytes: number) => void) | undefined;
}

/** `mismatch`: the file is not what the server meant to send; another download may help. */
export type InstallOutcome = { readonly stored: true } | { readonly stored: false; readonly mismatch: AosError };

/**
 * Checks, decrypts and stores a downloaded file, reading it once; memory does not grow with its size. The downloaded
 * file is gone afterwards, except when the work was canceled or a disk failed.
 *
 * Throws for what another download would not cure: `invalidChecksum` when the plain content is not that of the digest
 * or of the signature, and what `decrypt` and `checkSignature` throw.
 */
export async function installBlob(request: InstallRequest): Promise<InstallOutcome> {
  const { downloadedFile } = request;
  try {
    await install(request);
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

async function install(request: InstallRequest): Promise<void> {
  const { store, digest, downloadedFile, checksum, decryptInfo, signature, signal } = request;
  const expected = checksum === undefined ? undefined : parseChecksum(checksum);
  const check = signature && checkSignature(signature.info, signature.trust);
  const observe = check?.update;
  const beforeCommit = check?.verify;
  if (decryptInfo) {
    const source = whole(downloadedFile, expected, signal);
    let storedBytes = 0;
    const count = (chunk: Uint8Array) => {
      observe?.(chunk);
      storedBytes += chunk.byteLength;
      request.onStored?.(storedBytes);
    };
    await store.put(digest, decrypt(source, decryptInfo), { signal, observe: count, beforeCommit, ownsChunks: true });
    await discardDownload(downloadedFile);
    return;
  }
  // A plain file whose SHA-256 is meant by the checksum is judged by the digest alone.
  const named = Buffer.from(digest.slice(digest.indexOf(':') + 1), 'hex');
  const judged = expected && !expected.equals(named) ? expected : undefined;
  const hashing = judged && SecondHash.begin(downloadedFile, signal);
  try {
    await store.adopt(digest, downloadedFile, {
      signal,
      observe,
      beforeCommit: async () => {
        if (hashing && judged) requireEqual(await hashing.result, judged, downloadedFile);
        beforeCommit?.();
      },
    });
  } finally {
    await hashing?.end();
  }
}

/**
 * Ends the stream with `DownloadMismatch` when all of it was read and it is not the file that was meant. The checksum
 * is made beside the decryption, by another core.
 */
async function* whole(path: string, expected: Buffer | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const hashing = expected && SecondHash.begin(path, signal);
  try {
    yield* scanFile(path, signal);
    if (!hashing || !expected || timingSafeEqual(await hashing.result, expected)) return;
    // The other reading of the field's name, tried only now since it is rare and costs a second pass.
    requireEqual(await hashFile(path, 'sha256', signal), expected, path);
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

/** Tells this mismatch from all others on its way out of the stream that found it. */
class DownloadMismatch extends AosError {}

function requireEqual(found: Buffer, expected: Buffer, path: string): void {
  if (found.equals(expected)) return;
  // What matters first: sent texts are cut short.
  const text = `its checksum is wrong: expected ${expected.toString('hex')} for the download ${path}`;
  throw new DownloadMismatch('invalidChecksum', text);
}

/** 64 hex digits, or base64 of 32 bytes. Throws `invalidArgument`. */
function parseChecksum(text: string): Buffer {
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (bytes.length === 32 && text.length >= 43) return bytes;
  throw new AosError('invalidArgument', `checksum "${text}" is neither 64 hex digits nor base64 of 32 bytes`);
}

/** The file is of no use any more: the same file would fail in the same way. */
function isFinal(error: unknown): boolean {
  return isAosError(error) && ['invalidChecksum', 'invalidArgument', 'notSupported', 'notFound'].includes(error.code);
}

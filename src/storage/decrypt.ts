/** Decryption of blobs while they stream (spec/cloud-protocol.md 9.5, spec/decisions.md C-36). */
import { createDecipheriv, type DecipherGCM } from 'node:crypto';
import { AosError } from '../core/index.ts';

const BLOCK_BYTES = 16;
const TAG_BYTES = 16;

const KEY_BYTES: Readonly<Record<string, number>> = { AES128: 16, AES192: 24, AES256: 32 };

/** `decryptInfo` of a blob, its base64 decoded. */
export interface DecryptInfo {
  /** `<cipher>[/<mode>[/<padding>]]`, as `AES256/CBC/PKCS7PADDING`. */
  readonly blockAlg: string;
  readonly blockIv: Uint8Array;
  readonly blockKey: Uint8Array;
}

interface Cipher {
  readonly name: string;
  readonly mode: 'cbc' | 'gcm';
}

/**
 * The plain content of an encrypted stream. The last piece comes only when the end is proven right; a reader that
 * needs the whole must not use what came before an error.
 *
 * Throws `notSupported` for an algorithm that is not known, `invalidArgument` for key, IV or length that do not fit it,
 * `invalidChecksum` when the content was not encrypted with this key.
 */
export function decrypt(source: AsyncIterable<Uint8Array>, info: DecryptInfo): AsyncIterable<Uint8Array> {
  const cipher = chooseCipher(info);
  return cipher.mode === 'gcm' ? decryptGcm(source, info, cipher.name) : decryptCbc(source, info, cipher.name);
}

function chooseCipher({ blockAlg, blockIv, blockKey }: DecryptInfo): Cipher {
  const [algorithm = '', modeText] = blockAlg.trim().toUpperCase().split('/');
  const mode = modeText || 'CBC';
  const keyBytes = KEY_BYTES[algorithm];
  if (keyBytes === undefined || (mode !== 'CBC' && mode !== 'GCM')) {
    throw new AosError('notSupported', `cipher "${blockAlg}" is not supported, expected for example AES256/CBC`);
  }
  if (blockKey.byteLength !== keyBytes) {
    throw new AosError('invalidArgument', `invalid symmetric key: ${blockKey.byteLength} bytes, expected ${keyBytes}`);
  }
  const ivFits = blockIv.byteLength === BLOCK_BYTES || (mode === 'GCM' && blockIv.byteLength === 12);
  if (!ivFits) throw new AosError('invalidArgument', `invalid IV length: ${blockIv.byteLength} bytes for ${blockAlg}`);
  const lower = mode.toLowerCase() as Cipher['mode'];
  return { name: `aes-${keyBytes * 8}-${lower}`, mode: lower };
}

async function* decryptCbc(
  source: AsyncIterable<Uint8Array>,
  info: DecryptInfo,
  name: string,
): AsyncGenerator<Uint8Array> {
  const decipher = createDecipheriv(name, info.blockKey, info.blockIv);
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.byteLength;
    const plain = decipher.update(chunk);
    if (plain.byteLength > 0) yield plain;
  }
  if (sizeBytes === 0 || sizeBytes % BLOCK_BYTES !== 0) {
    throw new AosError('invalidArgument', `file size is incorrect: ${sizeBytes} bytes, expected whole blocks of 16`);
  }
  const rest = finish(() => decipher.final(), 'decryption failed: the padding is wrong, so the key does not fit');
  if (rest.byteLength > 0) yield rest;
}

/** The tag is expected behind the content; nothing published says where it is. */
async function* decryptGcm(
  source: AsyncIterable<Uint8Array>,
  info: DecryptInfo,
  name: string,
): AsyncGenerator<Uint8Array> {
  const decipher = createDecipheriv(name, info.blockKey, info.blockIv) as DecipherGCM;
  let held = Buffer.alloc(0);
  for await (const chunk of source) {
    const known = Buffer.concat([held, chunk]);
    const usable = Math.max(0, known.byteLength - TAG_BYTES);
    held = known.subarray(usable);
    if (usable > 0) yield decipher.update(known.subarray(0, usable));
  }
  if (held.byteLength < TAG_BYTES) {
    throw new AosError('invalidArgument', `file size is incorrect: ${held.byteLength} bytes hold no tag`);
  }
  decipher.setAuthTag(held);
  finish(() => decipher.final(), 'decryption failed: wrong tag at the end (layout unconfirmed)');
}

function finish(final: () => Buffer, complaint: string): Buffer {
  try {
    return final();
  } catch (error) {
    throw new AosError('invalidChecksum', complaint, { cause: error });
  }
}

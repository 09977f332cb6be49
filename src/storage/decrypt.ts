/** Ciphers of blobs (spec/cloud-protocol.md 9.5, spec/decisions.md C-36). */
import { createCipheriv, createDecipheriv, type DecipherGCM } from 'node:crypto';
import { AosError } from '../core/index.ts';

export const BLOCK_BYTES = 16;
const TAG_BYTES = 16;

const KEY_BYTES: Readonly<Record<string, number>> = { AES128: 16, AES192: 24, AES256: 32 };

/** `decryptInfo` of a blob, its base64 decoded. */
export interface DecryptInfo {
  /** `<cipher>[/<mode>[/<padding>]]`, as `AES256/CBC/PKCS7PADDING`. */
  readonly blockAlg: string;
  readonly blockIv: Uint8Array;
  readonly blockKey: Uint8Array;
}

/** What is done to the bytes of an encrypted blob; plain and encrypted bytes stand at the same places. */
export interface BlobCipher {
  /**
   * How many bytes at the end of `sizeBytes` cannot be decrypted yet: the begun block, or what may turn out to be the
   * tag behind the content.
   */
  heldBytes(sizeBytes: number): number;
  decryption(): Decryption;
  /** Makes again what plain bytes, from the first one on and in whole blocks, were made of. */
  encryption(): (plain: Uint8Array) => Buffer;
  /** Whether the last block holds padding. */
  readonly isPadded: boolean;
}

export interface Decryption {
  /** Takes what is not held back; answers as many plain bytes. */
  update(encrypted: Uint8Array): Buffer;
  /**
   * Judges the end by what was held back and by the last plain block; answers how many bytes of padding the content has.
   * Throws `invalidArgument` for a size that cannot be, `invalidChecksum` when it was not encrypted with this key.
   */
  finish(held: Uint8Array, lastBlock: Uint8Array | undefined): number;
}

/**
 * The cipher that is meant. Throws `notSupported` for an algorithm that is not known, `invalidArgument` for a key or an
 * initial vector that does not fit it.
 */
export function blobCipher(info: DecryptInfo): BlobCipher {
  const { blockAlg, blockIv, blockKey } = info;
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
  return mode === 'GCM' ? gcm(info, `aes-${keyBytes * 8}-gcm`) : cbc(info, `aes-${keyBytes * 8}-cbc`);
}

function cbc({ blockKey, blockIv }: DecryptInfo, name: string): BlobCipher {
  return {
    isPadded: true,
    heldBytes: (sizeBytes) => sizeBytes % BLOCK_BYTES,
    // The padding is taken off at the end, so that until then the file grows as the download does.
    encryption: () => {
      const cipher = createCipheriv(name, blockKey, blockIv).setAutoPadding(false);
      return (plain) => cipher.update(plain);
    },
    decryption: () => {
      const decipher = createDecipheriv(name, blockKey, blockIv).setAutoPadding(false);
      let sizeBytes = 0;
      return {
        update: (encrypted) => {
          sizeBytes += encrypted.byteLength;
          return decipher.update(encrypted);
        },
        finish: (held, lastBlock) => {
          if (held.byteLength > 0 || !lastBlock) {
            const found = sizeBytes + held.byteLength;
            const text = `file size is incorrect: ${found} bytes, expected whole blocks of ${BLOCK_BYTES}`;
            throw new AosError('invalidArgument', text);
          }
          return paddingBytes(lastBlock);
        },
      };
    },
  };
}

/** As many bytes as each of them says (PKCS #7). */
function paddingBytes(block: Uint8Array): number {
  const count = block[BLOCK_BYTES - 1]!;
  if (count >= 1 && count <= BLOCK_BYTES && block.subarray(BLOCK_BYTES - count).every((byte) => byte === count)) {
    return count;
  }
  throw new AosError('invalidChecksum', 'decryption failed: the padding is wrong, so the key does not fit');
}

/** The tag is expected behind the content; nothing published says where it is. */
function gcm({ blockKey, blockIv }: DecryptInfo, name: string): BlobCipher {
  return {
    isPadded: false,
    heldBytes: (sizeBytes) => Math.min(sizeBytes, TAG_BYTES),
    encryption: () => {
      const cipher = createCipheriv(name, blockKey, blockIv);
      return (plain) => cipher.update(plain);
    },
    decryption: () => {
      const decipher = createDecipheriv(name, blockKey, blockIv) as DecipherGCM;
      return {
        update: (encrypted) => decipher.update(encrypted),
        finish: (held) => {
          if (held.byteLength < TAG_BYTES) {
            throw new AosError('invalidArgument', `file size is incorrect: ${held.byteLength} bytes hold no tag`);
          }
          decipher.setAuthTag(held);
          try {
            decipher.final();
          } catch (error) {
            throw new AosError('invalidChecksum', 'decryption failed: wrong tag at the end (layout unconfirmed)', {
              cause: error,
            });
          }
          return 0;
        },
      };
    },
  };
}

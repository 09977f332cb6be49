/** The beginning of a bundle file, read without the rest (docs/decisions/0014-bundles.md). */
import { createReadStream } from 'node:fs';
import { AosError, asAosError, isAosError } from '../../core/index.ts';
import { type TarEntry, TarReader } from '../../platform/archive/index.ts';
import { BUNDLE_ENTRIES, BUNDLE_LIMITS } from '../../protocol/index.ts';

/** As the CM takes it for a plan: base64. */
export interface BundleHead {
  readonly manifest: string;
  readonly signature: string;
}

/**
 * Undefined when the file does not begin as a bundle does. Throws `invalidArgument` for a file that cannot be read, and
 * for a bundle that ends in its head.
 */
export async function readBundleHead(path: string): Promise<BundleHead | undefined> {
  const parts = new Map<string, Buffer[]>();
  let isOther = false;
  let isWhole = false;
  let current: Buffer[] | undefined;
  const reader = new TarReader({
    begin: ({ name, sizeBytes }: TarEntry) => {
      current = undefined;
      const isExpected = name === (parts.size === 0 ? BUNDLE_ENTRIES.manifest : BUNDLE_ENTRIES.signature);
      isOther ||= !isWhole && (!isExpected || sizeBytes > BUNDLE_LIMITS.manifestBytes);
      if (isOther || isWhole) return undefined;
      current = [];
      parts.set(name, current);
      return undefined;
    },
    data: (piece) => {
      current?.push(Buffer.from(piece));
      return undefined;
    },
    end: () => {
      isWhole = parts.size === 2;
      return undefined;
    },
  });
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 64 * 1024 }) as AsyncIterable<Buffer>) {
      if (!looksLikeTar(chunk) && parts.size === 0) return undefined;
      await reader.push(chunk);
      if (isOther) return undefined;
      if (isWhole) break;
    }
  } catch (error) {
    const { code, message } = asAosError(error);
    // The file that was named is wrong, not what was asked for.
    throw new AosError(isAosError(error) ? code : 'invalidArgument', `cannot read ${path}: ${message}`, {
      cause: error,
    });
  }
  if (parts.size === 0) return undefined;
  if (!isWhole) throw new AosError('invalidArgument', `${path} is cut short: the head of the bundle is not whole`);
  const base64 = (name: string) => Buffer.concat(parts.get(name)!).toString('base64');
  return { manifest: base64(BUNDLE_ENTRIES.manifest), signature: base64(BUNDLE_ENTRIES.signature) };
}

const looksLikeTar = (chunk: Buffer): boolean => chunk.toString('latin1', 257, 262) === 'ustar';

/** Uploads of blobs, and how far they may go: each of them, and all that one service provider has at the cloud. */
import { AosError, type Digest } from '../../core/index.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { ItemStore } from '../store/items.ts';
import type { BlobVault } from './blob-vault.ts';

export interface UploadLimits {
  /** Of one blob. */
  readonly blobBytes: number;
  /** Of all blobs of one service provider. */
  readonly providerBytes: number;
}

/** What is known of a blob while it comes. */
export interface Growth {
  /** So many bytes it has, or more. */
  readonly bytes: number;
  /** '' when it is that of no service provider: an OEM takes what it needs. */
  readonly provider: string;
  /** What the service provider has besides. */
  readonly otherBytes: number;
}

/** Why an upload goes too far; undefined while it does not. Pure. */
export function excessOf({ bytes, provider, otherBytes }: Growth, limits: UploadLimits): string | undefined {
  const { blobBytes, providerBytes } = limits;
  if (bytes > blobBytes) {
    return `the blob has at least ${bytes} bytes, ${blobBytes} are allowed (blobLimitBytes of this cloud); make several layers of it, or ask whoever runs the cloud for more`;
  }
  const total = otherBytes + bytes;
  if (provider === '' || total <= providerBytes) return undefined;
  return `with this blob service provider "${provider}" has at least ${total} bytes here, ${providerBytes} are allowed (providerLimitBytes of this cloud); delete versions of items that nobody needs any more, or ask whoever runs the cloud for more`;
}

/** Uploads of which no item was made in this time are taken for abandoned, when there is no room for new ones. */
const ABANDONED_MS = 86_400_000;

export interface UploadsParts {
  readonly database: CloudDatabase;
  readonly vault: Pick<BlobVault, 'put' | 'remove'>;
  readonly limits: UploadLimits;
  readonly now: () => Date;
}

export interface Upload {
  readonly digest: Digest;
  readonly provider: string;
  /** 0 when it was not said. */
  readonly declaredBytes: number;
  readonly source: AsyncIterable<Uint8Array>;
}

export class Uploads {
  readonly #parts: UploadsParts;
  /** Bytes of uploads that go on right now, of each service provider. */
  readonly #underWay = new Map<string, number>();

  constructor(parts: UploadsParts) {
    this.#parts = parts;
  }

  /**
   * Stores a blob. Throws `outOfRange` as soon as it is known that it goes too far, and what the vault throws; then
   * nothing of it stays.
   */
  async take({ digest, provider, declaredBytes, source }: Upload): Promise<void> {
    const heldBytes = await this.#makeRoom(provider, declaredBytes);
    const counted = this.#count(provider, heldBytes, source);
    await this.#parts.vault.put(digest, counted, provider, async (items) => {
      // Others of the same provider may have been faster.
      this.#mustFit({ bytes: 0, provider, otherBytes: await heldBy(items, provider) });
    });
  }

  /** Answers what the provider has. Throws when the blob has no room even without what was abandoned. */
  async #makeRoom(provider: string, bytes: number): Promise<number> {
    const { database, vault, limits, now } = this.#parts;
    const held = () => database.read(({ items }) => heldBy(items, provider));
    const growth = (heldBytes: number) => ({ bytes, provider, otherBytes: heldBytes + this.#coming(provider) });
    let heldBytes = await held();
    if (provider !== '' && excessOf(growth(heldBytes), limits) !== undefined) {
      const before = new Date(now().getTime() - ABANDONED_MS);
      await vault.remove(await database.write(({ items }) => items.removeAbandoned(provider, before)));
      heldBytes = await held();
    }
    this.#mustFit(growth(heldBytes));
    return heldBytes;
  }

  async *#count(provider: string, heldBytes: number, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let bytes = 0;
    try {
      for await (const chunk of source) {
        bytes += chunk.byteLength;
        this.#come(provider, chunk.byteLength);
        this.#mustFit({ bytes, provider, otherBytes: heldBytes + this.#coming(provider) - bytes });
        yield chunk;
      }
    } finally {
      this.#come(provider, -bytes);
    }
  }

  #coming(provider: string): number {
    return this.#underWay.get(provider) ?? 0;
  }

  #come(provider: string, bytes: number): void {
    const coming = this.#coming(provider) + bytes;
    if (coming === 0) this.#underWay.delete(provider);
    else this.#underWay.set(provider, coming);
  }

  #mustFit(growth: Growth): void {
    const excess = excessOf(growth, this.#parts.limits);
    if (excess !== undefined) throw new AosError('outOfRange', excess);
  }
}

const heldBy = async (items: ItemStore, provider: string): Promise<number> =>
  provider === '' ? 0 : items.bytesOf(provider);

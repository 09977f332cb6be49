/** What the cloud says of a blob, as the storage takes it (spec/cloud-protocol.md 8.6). */
import { type BlobInfo, timeOf } from '../../protocol/index.ts';
import type { DecryptInfo, SignInfo } from '../../storage/index.ts';

export function decryptInfoOf({ blockAlg, blockIv, blockKey }: NonNullable<BlobInfo['decryptInfo']>): DecryptInfo {
  return { blockAlg, blockIv: Buffer.from(blockIv, 'base64'), blockKey: Buffer.from(blockKey, 'base64') };
}

export function signInfoOf({ chainName, alg, value, trustedTimestamp }: NonNullable<BlobInfo['signInfo']>): SignInfo {
  return { chainName, alg, value: Buffer.from(value, 'base64'), trustedTimestamp: timeOf(trustedTimestamp) };
}

/** Downloads without a network: bytes that arrive in a file as the downloader lets them. */
import { type DecryptingIntake, PartialFile } from './index.ts';

const CONTENT_ID = 'what was asked for';
const never = new AbortController().signal;

/**
 * Goes on with the download at `path` and appends what is still missing of `content`, up to `untilByte`, in pieces of
 * the given sizes in turn. Answers how many bytes were there before.
 */
export async function arrive(
  path: string,
  intake: DecryptingIntake | undefined,
  content: Uint8Array,
  { untilByte = content.byteLength, pieces = [512 * 1024] }: { untilByte?: number; pieces?: readonly number[] } = {},
): Promise<number> {
  const file = await PartialFile.open(path, { contentId: CONTENT_ID, intake, signal: never });
  try {
    if (!file.source) await file.restart({ url: 'http://nowhere' });
    const fromByte = file.sizeBytes;
    for (let at = fromByte, index = 0; at < untilByte; index += 1) {
      const end = Math.min(untilByte, at + pieces[index % pieces.length]!);
      await file.append(content.subarray(at, end));
      at = end;
    }
    return fromByte;
  } finally {
    await file.close();
  }
}

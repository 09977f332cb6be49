/** One attempt to bring a file over HTTP, from where the partial file ends (spec/decisions.md CM-23). */
import { AosError } from '../core/index.ts';
import { freeChunk } from './chunks.ts';
import { type Answer, describeUrl, type GetOptions, type HttpClient } from './http-get.ts';
import { local } from './local-fault.ts';
import type { PartialFile, PartialSource } from './partial-file.ts';

/** Bytes that are collected before they are written. */
const WRITE_BYTES = 512 * 1024;

export interface HttpLimits extends Omit<GetOptions, 'headers'> {
  readonly expectedSizeBytes: number | undefined;
  readonly maxSizeBytes: number;
  /** Asked for the size of the whole file, when the server tells it, before anything is written. */
  readonly admit?: ((totalBytes: number) => Promise<void>) | undefined;
}

/** Called when the answer begins, and with each piece, before it is on disk. */
export type BytesListener = (
  kind: 'started' | 'progress',
  bytes: {
    readonly downloadedBytes: number;
    readonly resumedFromBytes: number;
    readonly totalBytes?: number | undefined;
  },
) => void;

/** What to do with an answer. */
type Verdict =
  | { readonly do: 'complete' }
  | { readonly do: 'startOver' }
  | { readonly do: 'take'; readonly fromBytes: number; readonly totalBytes: number | undefined };

/** Answers with the size of the complete file. Throws what `HttpClient.get` throws, and `invalidChecksum` for wrong sizes. */
export async function receive(
  client: HttpClient,
  url: URL,
  file: PartialFile,
  limits: HttpLimits,
  onBytes: BytesListener,
): Promise<number> {
  const { expectedSizeBytes = file.source?.totalBytes } = limits;
  if (expectedSizeBytes !== undefined) {
    if (file.sizeBytes === expectedSizeBytes && file.source) return file.sizeBytes;
    if (file.sizeBytes > expectedSizeBytes) await local(file.forget());
  }
  for (let startedOver = false; ; startedOver = true) {
    const offset = file.sizeBytes;
    const answer = await client.get(url, { ...limits, headers: requestHeaders(url, file) });
    try {
      const verdict = judge(url, answer, offset, file.source, limits);
      if (verdict.do === 'complete') return offset;
      if (verdict.do === 'take') return await take(url, answer, file, verdict, limits, onBytes);
      if (startedOver) throw new AosError('runtime', `${describeUrl(url)} answers ${answer.status} to a plain request`);
      await local(file.forget());
    } finally {
      answer.drop();
    }
  }
}

function requestHeaders(url: URL, file: PartialFile): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (file.sizeBytes === 0) return headers;
  headers.range = `bytes=${file.sizeBytes}-`;
  // A validator means something only to the server that wrote it.
  if (file.source?.validator && file.source.url === describeUrl(url)) headers['if-range'] = file.source.validator;
  return headers;
}

/** Decides by status and headers alone. Throws `runtime` or `invalidChecksum` for an answer that is of no use. */
function judge(
  url: URL,
  answer: Answer,
  offset: number,
  source: PartialSource | undefined,
  limits: HttpLimits,
): Verdict {
  const encoding = answer.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new AosError('runtime', `${describeUrl(url)} answers with content encoding "${encoding}", asked for none`);
  }
  switch (answer.status) {
    case 200: {
      const totalBytes = contentLength(answer);
      checkTotal(url, totalBytes, limits);
      return { do: 'take', fromBytes: 0, totalBytes };
    }
    case 206: {
      const range = parseContentRange(answer.headers['content-range']);
      const changed =
        source?.totalBytes !== undefined && range?.total !== undefined && range.total !== source.totalBytes;
      if (offset === 0 || !range || range.first !== offset || changed) return { do: 'startOver' };
      checkTotal(url, range.total, limits);
      return { do: 'take', fromBytes: offset, totalBytes: range.total };
    }
    case 416: {
      const total = /^bytes \*\/(\d+)$/.exec(answer.headers['content-range'] ?? '')?.[1];
      const complete = Number(total ?? limits.expectedSizeBytes ?? source?.totalBytes) === offset;
      return offset > 0 && complete ? { do: 'complete' } : { do: 'startOver' };
    }
    default:
      throw new AosError('runtime', `${describeUrl(url)} answers HTTP status ${answer.status}`, {
        exitCode: answer.status,
      });
  }
}

async function take(
  url: URL,
  answer: Answer,
  file: PartialFile,
  { fromBytes, totalBytes }: Extract<Verdict, { do: 'take' }>,
  limits: HttpLimits,
  onBytes: BytesListener,
): Promise<number> {
  if (totalBytes !== undefined) await limits.admit?.(totalBytes);
  if (fromBytes === 0) {
    await local(file.restart({ url: describeUrl(url), validator: validatorOf(answer), totalBytes }));
  }
  const tell = (kind: 'started' | 'progress', downloadedBytes: number) =>
    onBytes(kind, { downloadedBytes, resumedFromBytes: fromBytes, totalBytes });
  tell('started', fromBytes);
  const mostBytes = totalBytes ?? limits.maxSizeBytes;
  const writer = new GatheringWriter(file);
  try {
    for await (const chunk of answer.chunks) {
      if (writer.sizeBytes + chunk.byteLength > mostBytes) {
        throw await useless(file, writer, `the download has more than ${mostBytes} bytes: ${describeUrl(url)}`);
      }
      await local(writer.write(chunk));
      tell('progress', writer.sizeBytes);
    }
  } finally {
    // What arrived before the connection broke is kept for the next attempt.
    await local(writer.flush());
  }
  const wanted = limits.expectedSizeBytes ?? totalBytes;
  if (wanted !== undefined && writer.sizeBytes !== wanted) {
    const message = `the download ended after ${writer.sizeBytes} bytes, expected ${wanted}: ${describeUrl(url)}`;
    // A server that knew the size broke off; one that did not has another file.
    if (totalBytes !== undefined) throw new AosError('runtime', message);
    throw await useless(file, writer, message);
  }
  return writer.sizeBytes;
}

/** What matters comes first: texts that are sent are cut short, and addresses are long. */
async function useless(file: PartialFile, writer: GatheringWriter, message: string): Promise<AosError> {
  await local(writer.flush());
  await local(file.forget());
  return new AosError('invalidChecksum', message);
}

function checkTotal(url: URL, totalBytes: number | undefined, limits: HttpLimits): void {
  if (totalBytes === undefined) return;
  const { expectedSizeBytes = totalBytes, maxSizeBytes, admit } = limits;
  if (totalBytes === expectedSizeBytes && (admit || totalBytes <= maxSizeBytes)) return;
  const expected = limits.expectedSizeBytes === undefined ? `at most ${maxSizeBytes}` : expectedSizeBytes;
  throw new AosError(
    'invalidChecksum',
    `the download has ${totalBytes} bytes, expected ${expected}: ${describeUrl(url)}`,
  );
}

function contentLength(answer: Answer): number | undefined {
  const text = answer.headers['content-length'];
  return text === undefined ? undefined : Number(text);
}

function parseContentRange(text: string | undefined): { first: number; total: number | undefined } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text ?? '');
  if (!match) return undefined;
  return { first: Number(match[1]), total: match[3] === '*' ? undefined : Number(match[3]) };
}

/** Only a strong tag promises that the bytes are the same. */
function validatorOf(answer: Answer): string | undefined {
  const { etag, 'last-modified': lastModified } = answer.headers;
  return etag && !etag.startsWith('W/') ? etag : lastModified;
}

/**
 * Collects pieces in one of two buffers and writes it while the next ones arrive in the other. The buffers are used
 * again and again: fresh ones for each write would keep the garbage collector busy.
 */
class GatheringWriter {
  readonly #file: PartialFile;
  #filling = Buffer.alloc(0);
  #other = Buffer.alloc(0);
  #filledBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  /** What has come of the download. */
  sizeBytes: number;

  constructor(file: PartialFile) {
    this.#file = file;
    this.sizeBytes = file.sizeBytes;
  }

  async write(chunk: Buffer): Promise<void> {
    this.sizeBytes += chunk.byteLength;
    for (let from = 0; from < chunk.byteLength; ) {
      if (this.#filling.byteLength === 0) this.#filling = Buffer.allocUnsafeSlow(WRITE_BYTES);
      const copied = chunk.copy(this.#filling, this.#filledBytes, from);
      this.#filledBytes += copied;
      from += copied;
      if (this.#filledBytes === WRITE_BYTES) await this.#next();
    }
    freeChunk(chunk);
  }

  async flush(): Promise<void> {
    await this.#next();
    await this.#writing;
  }

  /** Waits for the former write and begins the next one. */
  async #next(): Promise<void> {
    await this.#writing;
    if (this.#filledBytes === 0) return;
    const full = this.#filling.subarray(0, this.#filledBytes);
    [this.#filling, this.#other] = [this.#other, this.#filling];
    this.#filledBytes = 0;
    this.#writing = this.#file.append(full);
    // It is awaited by the next write or by `flush`; until then nobody listens.
    this.#writing.catch(() => undefined);
  }
}

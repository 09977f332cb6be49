import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeCertificate } from './certificates-for-tests.ts';
import { Downloader, type DownloadProgress, type DownloadRequest, discardDownload } from './index.ts';

const CONTENT = randomBytes(3_000_000);
const TAG = '"v1"';

let directory: string;
let toFile: string;
let downloader: Downloader;
const cleanUp: (() => unknown)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-download-'));
  toFile = join(directory, 'partial');
  downloader = new Downloader({ pauseFirstMs: 1, pauseMaxMs: 2 });
});

afterEach(async () => {
  downloader.close();
  for (const work of cleanUp.splice(0).reverse()) await work();
  await rm(directory, { recursive: true, force: true });
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Server {
  readonly url: string;
  /** `Range` and `If-Range` of each request. */
  readonly asked: (string | undefined)[][];
}

/** A server whose n-th request is answered by the n-th handler; the last one answers all further ones. */
async function serve(...handlers: Handler[]): Promise<Server> {
  const asked: (string | undefined)[][] = [];
  const server = http.createServer((request, response) => {
    const handler = handlers[Math.min(asked.length, handlers.length - 1)]!;
    asked.push([request.headers.range, request.headers['if-range'] as string | undefined]);
    handler(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanUp.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/blob`, asked };
}

function rangeStart(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
}

/** A server as it should be: ranges, conditional on the tag. */
function whole(content = CONTENT, tag = TAG): Handler {
  return (request, response) => {
    const condition = request.headers['if-range'];
    const start = condition === undefined || condition === tag ? rangeStart(request) : 0;
    if (start >= content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
      return;
    }
    const headers = { etag: tag, 'content-length': content.length - start };
    const range = { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` };
    response.writeHead(start > 0 ? 206 : 200, start > 0 ? { ...headers, ...range } : headers);
    response.end(content.subarray(start));
  };
}

/** Sends so many bytes of what it promised and breaks the connection. */
function breakAfter(bytes: number, content = CONTENT): Handler {
  return (request, response) => {
    const start = rangeStart(request);
    const range = { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      etag: TAG,
      'content-length': content.length - start,
      ...(start > 0 ? range : {}),
    });
    response.write(content.subarray(start, start + bytes), () => response.destroy());
  };
}

const answer =
  (status: number, headers: http.OutgoingHttpHeaders = {}, body = ''): Handler =>
  (_, response) => {
    response.writeHead(status, headers).end(body);
  };

function download(urls: string[], more: Partial<DownloadRequest> = {}): Promise<{ sizeBytes: number }> {
  return downloader.download({ urls, toFile, signal: new AbortController().signal, ...more });
}

async function expectDownloaded(content = CONTENT): Promise<void> {
  expect((await readFile(toFile)).equals(content)).toBe(true);
  expect(await readdir(directory)).toEqual(['partial']);
}

describe('a good server', () => {
  test('[CM-40] the file arrives as it is', async () => {
    const { url } = await serve(whole());
    expect(await download([url], { expectedSizeBytes: CONTENT.length })).toEqual({ sizeBytes: CONTENT.length });
    await expectDownloaded();
  });

  test('an empty file is a file', async () => {
    const { url } = await serve(answer(200));
    expect(await download([url])).toEqual({ sizeBytes: 0 });
    await expectDownloaded(Buffer.alloc(0));
  });

  test('a file of unknown length is taken to its end', async () => {
    const { url } = await serve((_, response) => {
      response.write(CONTENT.subarray(0, 10));
      response.end(CONTENT.subarray(10));
    });
    await download([url]);
    await expectDownloaded();
  });

  test('[CM-43] its progress is told: started, progress, finished', async () => {
    const { url } = await serve(whole());
    const seen: DownloadProgress[] = [];
    await download([`${url}?sig=secret`], { onProgress: (progress) => seen.push(progress) });
    expect(seen[0]).toMatchObject({ kind: 'started', url, downloadedBytes: 0, totalBytes: CONTENT.length });
    expect(seen.slice(1, -1).every(({ kind }) => kind === 'progress')).toBe(true);
    expect(seen.at(-1)).toMatchObject({ kind: 'finished', downloadedBytes: CONTENT.length });
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  test('an address is rewritten where asked', async () => {
    const { url } = await serve(whole());
    await download(['http://main-node.invalid/blob'], { rewriteUrl: () => url });
    await expectDownloaded();
  });
});

describe('going on after a break', () => {
  test('[CM-41] a download that breaks goes on where it stopped, if the file is still the same', async () => {
    const { url, asked } = await serve(breakAfter(1_000_000), breakAfter(500_000), whole());
    await download([url]);
    await expectDownloaded();
    expect(asked.map(([range]) => range === undefined)).toEqual([true, false, false]);
    expect(asked[1]![1]).toBe(TAG);
    const starts = asked.slice(1).map(([range]) => Number(/\d+/.exec(range!)![0]));
    expect(starts[0]).toBeGreaterThan(0);
    expect(starts[1]).toBeGreaterThan(starts[0]!);
  });

  test('[CM-41] a new process goes on where a former one stopped', async () => {
    const broken = await serve(breakAfter(1_000_000));
    await expect(new Downloader({ tries: 1 }).download({ ...requestTo(broken.url) })).rejects.toThrow(broken.url);
    const { size } = await stat(toFile);
    expect(size).toBeGreaterThan(0);
    const { url, asked } = await serve(whole());
    const seen: DownloadProgress[] = [];
    await download([url], { onProgress: (progress) => seen.push(progress) });
    expect(asked).toEqual([[`bytes=${size}-`, undefined]]);
    expect(seen[0]).toMatchObject({ kind: 'started', resumedFromBytes: size, downloadedBytes: size });
    await expectDownloaded();
  });

  test('a file that changed at the server is started over', async () => {
    const { url, asked } = await serve(breakAfter(1_000_000, randomBytes(3_000_000)), whole(CONTENT, '"v2"'));
    await download([url]);
    expect(asked[1]![1]).toBe(TAG);
    await expectDownloaded();
  });

  test('a part of other content is not continued', async () => {
    const other = await serve(breakAfter(100_000, randomBytes(3_000_000)));
    await expect(download([other.url], { contentId: 'a' })).rejects.toThrow();
    const { url, asked } = await serve(whole());
    await download([url], { contentId: 'b' });
    expect(asked).toEqual([[undefined, undefined]]);
    await expectDownloaded();
  });

  test('bytes of unknown origin are not continued, and a broken note costs only starting over', async () => {
    for (const note of [undefined, '{', '[]', '{"url":1}']) {
      await writeFile(toFile, 'from somewhere');
      if (note !== undefined) await writeFile(`${toFile}.from`, note);
      const { url, asked } = await serve(whole());
      await download([url]);
      expect(asked[0]![0]).toBeUndefined();
      await expectDownloaded();
    }
  });

  test('a server without ranges is asked for the whole', async () => {
    const { url, asked } = await serve(breakAfter(1_000_000), answer(200, { etag: TAG }, 'all'));
    await download([url]);
    expect(asked).toHaveLength(2);
    await expectDownloaded(Buffer.from('all'));
  });

  test.each([
    ['another offset', { 'content-range': `bytes 5-${CONTENT.length - 1}/${CONTENT.length}` }],
    ['no offset', {}],
    ['another length of the whole', { 'content-range': 'bytes 1000000-1000001/1000002' }],
  ])('a partial answer with %s is not believed: start over', async (_, headers) => {
    const { url, asked } = await serve(breakAfter(1_000_000), answer(206, headers, 'xx'), whole());
    await download([url]);
    expect(asked.at(-1)![0]).toBeUndefined();
    await expectDownloaded();
  });

  test('a complete file whose end was not noticed is complete', async () => {
    const { url, asked } = await serve(whole());
    await download([url]);
    await writeFile(`${toFile}.from`, JSON.stringify({ url, contentId: '' }));
    expect(await download([url])).toEqual({ sizeBytes: CONTENT.length });
    expect(asked[1]).toEqual([`bytes=${CONTENT.length}-`, undefined]);
    await expectDownloaded();
  });

  test('a range beyond the end of a smaller file means start over', async () => {
    const { url } = await serve(
      breakAfter(1_000_000),
      answer(416, { 'content-range': 'bytes */3' }),
      answer(200, {}, 'abc'),
    );
    await download([url]);
    await expectDownloaded(Buffer.from('abc'));
  });
});

function requestTo(url: string): DownloadRequest {
  return { urls: [url], toFile, signal: new AbortController().signal };
}

describe('what fails is tried again', () => {
  test('[CM-16] all addresses are tried in turn, then the first again', async () => {
    const bad = await serve(answer(404));
    const worse = await serve(answer(503), answer(503), whole());
    await download([bad.url, worse.url]);
    expect(bad.asked).toHaveLength(3);
    expect(worse.asked).toHaveLength(3);
    await expectDownloaded();
  });

  test('[CM-42] [SM-06] after three tries the last error is told, with the status as exit code', async () => {
    const { url, asked } = await serve(answer(403));
    const seen: DownloadProgress[] = [];
    await expect(download([`${url}?sig=secret`], { onProgress: (p) => seen.push(p) })).rejects.toMatchObject({
      code: 'runtime',
      exitCode: 403,
      message: `${url} answers HTTP status 403`,
    });
    expect(asked).toHaveLength(3);
    expect(seen.map(({ kind }) => kind)).toEqual(['interrupted', 'interrupted', 'interrupted']);
  });

  test('nobody listens, or the name is unknown', async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as AddressInfo;
    free.close();
    await expect(download([`http://127.0.0.1:${port}/blob`])).rejects.toMatchObject({
      code: 'runtime',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    await expect(download(['http://nowhere.invalid/blob'])).rejects.toMatchObject({ code: 'runtime' });
  });

  test('a server that falls silent is given up, what it sent is kept', async () => {
    downloader = new Downloader({ pauseFirstMs: 1, idleTimeoutMs: 50, tries: 1 });
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100, etag: TAG });
      response.write('0123456789');
    });
    await expect(download([url])).rejects.toMatchObject({
      code: 'timeout',
      message: `${url} sends nothing for 0.05 s`,
    });
    expect(await readFile(toFile, 'utf8')).toBe('0123456789');
    const silent = await serve(() => undefined);
    await expect(download([silent.url])).rejects.toMatchObject({
      code: 'timeout',
      message: `${silent.url} does not answer for 0.05 s`,
    });
  });

  test('a server that accepts and does not shake hands is given up', async () => {
    downloader = new Downloader({ connectTimeoutMs: 50, tries: 1 });
    const mute = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    cleanUp.push(() => mute.close());
    const { port } = mute.address() as AddressInfo;
    await expect(download([`https://127.0.0.1:${port}/blob`])).rejects.toMatchObject({
      code: 'timeout',
      message: `cannot connect to 127.0.0.1:${port} for 0.05 s`,
    });
  });
});

describe('a hostile server', () => {
  test('with more or less than expected is refused before it sends', async () => {
    const { url } = await serve(whole());
    for (const expectedSizeBytes of [CONTENT.length - 1, CONTENT.length + 1]) {
      await expect(download([url], { expectedSizeBytes })).rejects.toMatchObject({
        code: 'invalidChecksum',
        message: `${url} has ${CONTENT.length} bytes, expected ${expectedSizeBytes}`,
      });
    }
    await expect(download([url], { maxSizeBytes: 100 })).rejects.toThrow('expected at most 100');
  });

  test('that does not say its length and never ends is cut off, and nothing of it is kept', async () => {
    const { url } = await serve((_, response) => {
      const more = () => {
        if (!response.destroyed) response.write(Buffer.alloc(65_536), more);
      };
      more();
    });
    await expect(download([url], { expectedSizeBytes: 200_000 })).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: `${url} sends more than 200000 bytes`,
    });
    expect((await stat(toFile)).size).toBe(0);
  });

  test('that ends too early without having said its length has another file', async () => {
    const { url } = await serve((_, response) => {
      response.write('x');
      response.end();
    });
    await expect(download([url], { expectedSizeBytes: 5 })).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: `${url} ended after 1 bytes, expected 5`,
    });
  });

  test('that encodes, redirects in circles, out of encryption or to files gets nowhere', async () => {
    const encoded = await serve(answer(200, { 'content-encoding': 'gzip' }, 'x'));
    await expect(download([encoded.url])).rejects.toThrow('content encoding "gzip"');
    const circle = await serve(answer(302, { location: '/blob' }));
    await expect(download([circle.url])).rejects.toThrow('redirects more than 5 times');
    const file = await serve(answer(307, { location: 'file:///etc/passwd' }));
    await expect(download([file.url])).rejects.toThrow('redirects to an address that is not HTTP');
    const noWhere = await serve(answer(302));
    await expect(download([noWhere.url])).rejects.toThrow('answers HTTP status 302');
  });

  test('that answers a plain request with a range is not believed', async () => {
    for (const status of [206, 416]) {
      const { url } = await serve(answer(status, { 'content-range': 'bytes 0-0/1' }, status === 206 ? 'x' : ''));
      await expect(download([url])).rejects.toThrow(`answers ${status} to a plain request`);
    }
  });

  test('that redirects to where the file is, is followed', async () => {
    const target = await serve(breakAfter(1_000_000), whole());
    const { url } = await serve(answer(301, { location: target.url }));
    await download([url]);
    expect(target.asked[1]![0]).toMatch(/^bytes=/);
    await expectDownloaded();
  });
});

describe('trust', () => {
  async function serveSecurely(handler: Handler) {
    const authority = await makeCertificate('Test CA', { ca: true });
    const identity = await makeCertificate('localhost', { issuer: authority, dnsName: 'localhost' });
    const server = https.createServer(
      { cert: identity.pem, key: identity.privateKey.export({ format: 'pem', type: 'pkcs8' }) },
      handler,
    );
    await once(server.listen(0, '127.0.0.1'), 'listening');
    cleanUp.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    const { port } = server.address() as AddressInfo;
    return { authority, port };
  }

  test('a server is believed when its certificate comes from a given authority, and names the host', async () => {
    const { authority, port } = await serveSecurely(whole());
    await download([`https://localhost:${port}/blob`], { caPem: [authority.pem] });
    await expectDownloaded();
    await expect(download([`https://localhost:${port}/blob`])).rejects.toThrow(/certificate/);
    await expect(download([`https://127.0.0.1:${port}/blob`], { caPem: [authority.pem] })).rejects.toThrow(/IP/);
  });

  test('a redirect out of encryption is refused', async () => {
    const plain = await serve(whole());
    const { authority, port } = await serveSecurely(answer(302, { location: plain.url }));
    await expect(download([`https://localhost:${port}/blob`], { caPem: [authority.pem] })).rejects.toThrow(
      'which is not encrypted',
    );
    expect(plain.asked).toEqual([]);
  });
});

describe('files', () => {
  test('[CM-40] a file address is copied', async () => {
    const source = join(directory, 'some source');
    await writeFile(source, CONTENT);
    await download([pathToFileURL(source).href]);
    expect((await readFile(toFile)).equals(CONTENT)).toBe(true);
  });

  test('a missing file, a directory, a file of another size', async () => {
    await expect(download(['file:///nowhere/blob'])).rejects.toMatchObject({ code: 'notFound' });
    await expect(download([pathToFileURL(directory).href])).rejects.toMatchObject({ code: 'notFound' });
    await writeFile(join(directory, 'source'), 'abc');
    await expect(
      download([pathToFileURL(join(directory, 'source')).href], { expectedSizeBytes: 4 }),
    ).rejects.toMatchObject({ code: 'invalidChecksum' });
  });
});

describe('the caller', () => {
  test('[CM-53] who loses interest is obeyed at once, and the part is kept', async () => {
    const controller = new AbortController();
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100, etag: TAG });
      response.write('0123456789');
    });
    const onProgress = ({ kind }: DownloadProgress) => {
      if (kind === 'progress') setImmediate(() => controller.abort());
    };
    await expect(download([url], { signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: 'canceled',
    });
    expect(await readFile(toFile, 'utf8')).toBe('0123456789');
    await expect(download([url], { signal: controller.signal })).rejects.toMatchObject({ code: 'canceled' });
  });

  test('who cancels during a pause between tries is obeyed at once', async () => {
    downloader = new Downloader({ pauseFirstMs: 3_600_000, pauseMaxMs: 3_600_000 });
    const controller = new AbortController();
    const { url } = await serve(answer(500));
    const onProgress = () => setImmediate(() => controller.abort());
    await expect(download([url], { signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: 'canceled',
    });
  });

  test('[SM-06] who asks for a file that is being downloaded is told so', async () => {
    const { url } = await serve(whole());
    const first = download([url]);
    await expect(download([url])).rejects.toMatchObject({ code: 'alreadyExist' });
    await first;
    await expectDownloaded();
  });

  test('who has no address, or one of an unknown kind, is told so', async () => {
    await expect(download([])).rejects.toThrow('there is no address');
    await expect(download(['ftp://user:secret@host/x?y'])).rejects.toThrow('cannot download from "ftp://host/x"');
    await expect(download(['nonsense'])).rejects.toThrow('cannot download from "nonsense"');
  });

  test('whose directory is missing learns of it, and no server is asked', async () => {
    const { url, asked } = await serve(whole());
    await expect(download([url], { toFile: join(directory, 'missing', 'file') })).rejects.toMatchObject({
      code: 'notFound',
    });
    expect(asked).toEqual([]);
  });

  test('whose disk fails learns of it after one attempt', async () => {
    const { url, asked } = await serve(whole());
    // The note cannot be written where a directory has its name.
    await mkdir(join(`${toFile}.from`, 'x'), { recursive: true });
    await expect(download([url])).rejects.toThrow('EISDIR');
    await rm(`${toFile}.from`, { recursive: true });
    expect(asked.length).toBeLessThanOrEqual(1);
  });

  test('can discard a download with all that belongs to it', async () => {
    const { url } = await serve(breakAfter(1000));
    await expect(download([url])).rejects.toThrow();
    await discardDownload(toFile);
    expect(await readdir(directory)).toEqual([]);
  });
});

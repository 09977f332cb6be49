import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  answer,
  breakAfter,
  CONTENT,
  cleanUp,
  directory,
  download,
  downloadWith,
  expectDownloaded,
  serve,
  TAG,
  toFile,
  whole,
} from './downloads-for-tests.ts';
import { Downloader, type DownloadProgress, type DownloadRequest, discardDownload } from './index.ts';

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

  test('[CM-41] everything that arrived before a break is kept', async () => {
    for (const bytes of [1000, 70_000, 1_000_001, 2_999_999]) {
      const { url, asked } = await serve(breakAfter(bytes), whole());
      await download([url]);
      await expectDownloaded();
      expect(asked[1]![0]).toBe(`bytes=${bytes}-`);
      await discardDownload(toFile);
    }
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
    const other = await serve(breakAfter(500_000, randomBytes(3_000_000)));
    await expect(download([other.url], { contentId: 'a' })).rejects.toThrow(other.url);
    expect((await stat(toFile)).size).toBeGreaterThan(0);
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
    downloadWith({ pauseFirstMs: 1, idleTimeoutMs: 50, tries: 1 });
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100, etag: TAG });
      response.write('0123456789');
    });
    await expect(download([url])).rejects.toMatchObject({
      code: 'timeout',
      message: `${url} sends no more than 10 bytes for 0.05 s`,
    });
    expect(await readFile(toFile, 'utf8')).toBe('0123456789');
    const silent = await serve(() => undefined);
    await expect(download([silent.url])).rejects.toMatchObject({
      code: 'timeout',
      message: `${silent.url} does not answer for 0.05 s`,
    });
  });

  test('[CM-40] a server that drips is given up for the next address, which goes on where it stopped', async () => {
    downloadWith({ pauseFirstMs: 1, idleTimeoutMs: 100, tries: 1 });
    const dripping = await serve((_, response) => {
      response.writeHead(200, { 'content-length': CONTENT.length, etag: TAG });
      let at = 0;
      const drip = setInterval(() => {
        response.write(CONTENT.subarray(at, at + 1));
        at += 1;
      }, 10);
      response.on('close', () => clearInterval(drip));
    });
    const good = await serve(whole());
    await download([dripping.url, good.url]);
    await expectDownloaded();
    expect(good.asked[0]?.[0]).toMatch(/^bytes=[1-9]/);
  });

  test('a server that accepts and does not shake hands is given up', async () => {
    downloadWith({ connectTimeoutMs: 50, tries: 1 });
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
    downloadWith({ pauseFirstMs: 3_600_000, pauseMaxMs: 3_600_000 });
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

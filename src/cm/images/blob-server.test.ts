import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { AosError, digestOf, silentLogger } from '../../core/index.ts';
import { advertisedHost, namesOfCertificate, parseFileServerUrl } from './blob-address.ts';
import { BlobServer, parseRange } from './blob-server.ts';

const content = Buffer.from('0123456789');
const digest = digestOf(content);
const large = randomBytes(20_000_000);
const largeDigest = digestOf(large);
const pathOf = (of: string) => `/blobs/${of.replace(':', '/')}`;
const path = pathOf(digest);
let directory: string;
let server: BlobServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-blob-server-'));
  await writeFile(join(directory, 'blob'), content);
  await writeFile(join(directory, 'large'), large);
  await writeFile(join(directory, 'secret'), 'secret');
  await writeFile(join(directory, 'stranger'), 'stranger');
  server = await BlobServer.open({
    host: '127.0.0.1',
    port: 0,
    blobPath: async (asked) => {
      if (asked === digest) return join(directory, 'blob');
      if (asked === largeDigest) return join(directory, 'large');
      if (asked === digestOf('stranger')) return join(directory, 'stranger');
      throw new AosError('notFound', 'no such blob');
    },
    isKnown: async (asked) => asked !== digestOf('stranger'),
    logger: silentLogger,
  });
});

afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

/** As the text stands, without the cleaning that `fetch` does. */
function ask(target: string, method = 'GET', headers: Record<string, string> = {}) {
  return new Promise<{ status: number; headers: readonly string[]; body: string }>((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port: server.port, path: target, method, headers }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.rawHeaders, body }));
    });
    outgoing.on('error', reject).end();
  });
}

test('[CM-49] a blob is served whole and by range, right to the byte', async () => {
  expect(await ask(path)).toMatchObject({ status: 200, body: '0123456789' });
  expect(await ask(path, 'GET', { range: 'bytes=3-5' })).toMatchObject({ status: 206, body: '345' });
  expect(await ask(path, 'GET', { range: 'bytes=7-' })).toMatchObject({ status: 206, body: '789' });
  expect(await ask(path, 'GET', { range: 'bytes=-2' })).toMatchObject({ status: 206, body: '89' });
  expect(await ask(path, 'GET', { range: 'bytes=10-' })).toMatchObject({ status: 416, body: '' });
});

test('[CM-49] a large blob comes as it is, also to several at once and to those who read slowly', async () => {
  const fetched = async (pauseMs: number) => {
    const outgoing = request({ host: '127.0.0.1', port: server.port, path: pathOf(largeDigest) }).end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of response) {
      parts.push(part as Buffer);
      if (parts.length < 20) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    return Buffer.concat(parts).equals(large);
  };
  expect(await Promise.all([fetched(0), fetched(3), fetched(1)])).toEqual([true, true, true]);
});

test('[CM-49] who goes away in the middle of a blob leaves no file open', async () => {
  const openFiles = async () => {
    const names = await readdir('/proc/self/fd');
    const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
    return targets.filter((target) => target === join(directory, 'large')).length;
  };
  const outgoing = request({ host: '127.0.0.1', port: server.port, path: pathOf(largeDigest) }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  await once(response, 'readable');
  expect(await openFiles()).toBe(1);
  response.destroy();
  await vi.waitFor(async () => expect(await openFiles()).toBe(0), { timeout: 20_000 });
});

test('[CM-49] HEAD tells the size and, in the spelling that twins look for, that ranges are accepted', async () => {
  const { status, headers, body } = await ask(path, 'HEAD');
  expect(status).toBe(200);
  expect(body).toBe('');
  expect(headers[headers.indexOf('Accept-Ranges') + 1]).toBe('bytes');
  expect(headers[headers.indexOf('Content-Length') + 1]).toBe('10');
});

test.each([
  '/blobs/sha256/../../secret',
  '/secret',
  '/blobs/md5/0123',
  `${path}/..`,
  `/blobs/sha256/${'0'.repeat(64)}`,
  `/blobs/${digestOf('stranger').replace(':', '/')}`,
])('[X-14] nothing but blobs of known items is served: %s', async (target) => {
  expect(await ask(target)).toMatchObject({ status: 404, body: '' });
});

test('nothing can be written', async () => {
  expect(await ask(path, 'PUT')).toMatchObject({ status: 405 });
});

test('a range is always inside the file', () =>
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 }), fc.nat(30), (first, last, size) => {
      const range = parseRange(`bytes=${first}-${last}`, size);
      if (range === undefined || range === 'unsatisfiable') return;
      expect(range.start).toBe(first);
      expect(range.end).toBeLessThan(size);
      expect(range.start).toBeLessThanOrEqual(range.end);
    }),
  ));

test('the address of the file server is read in every form', () => {
  expect(parseFileServerUrl('localhost:8094')).toEqual({ host: 'localhost', port: 8094 });
  expect(parseFileServerUrl('http://main.local:8094')).toEqual({ host: 'main.local', port: 8094 });
  expect(parseFileServerUrl(':8094')).toEqual({ host: 'localhost', port: 8094 });
  expect(parseFileServerUrl('main')).toEqual({ host: 'main', port: 80 });
  expect(() => parseFileServerUrl('ftp://main')).toThrow(/ftp:\/\/main/);
});

test('other nodes are told a name of the certificate that means something to them', () => {
  const names = namesOfCertificate('DNS:localhost, DNS:main.unit, IP Address:10.0.0.1');
  expect(names).toEqual(['localhost', 'main.unit', '10.0.0.1']);
  expect(advertisedHost('localhost', true, names)).toBe('main.unit');
  expect(advertisedHost('localhost', false, names)).toBe('localhost');
  expect(advertisedHost('wwwaosfiles', true, names)).toBe('wwwaosfiles');
  expect(advertisedHost('localhost', true, ['localhost'])).toBe('localhost');
});

import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { makeCertificate } from './certificates-for-tests.ts';
import {
  answer,
  breakAfter,
  CONTENT,
  cleanUp,
  download,
  expectDownloaded,
  type Handler,
  serve,
  toFile,
  whole,
} from './downloads-for-tests.ts';

describe('a hostile server', () => {
  test('with more or less than expected is refused before it sends', async () => {
    const { url, asked } = await serve(whole());
    for (const expectedSizeBytes of [CONTENT.length - 1, CONTENT.length + 1]) {
      await expect(download([url], { expectedSizeBytes })).rejects.toMatchObject({
        code: 'invalidChecksum',
        message: `the download has ${CONTENT.length} bytes, expected ${expectedSizeBytes}: ${url}`,
      });
    }
    await expect(download([url], { maxSizeBytes: 100 })).rejects.toThrow('expected at most 100');
    expect(asked).toHaveLength(3);
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
      message: `the download has more than 200000 bytes: ${url}`,
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
      message: `the download ended after 1 bytes, expected 5: ${url}`,
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

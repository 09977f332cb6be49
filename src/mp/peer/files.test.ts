import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import { MainNode, PORTS, ScriptedPeer } from '../relay/proxy-for-tests.ts';
import { makeTestTls, type TestTls } from '../wire/pair-for-tests.ts';
import { FileClient } from './file-client.ts';
import { FileDoor } from './file-door.ts';

const never = new AbortController().signal;

let tls: TestTls;
let main: MainNode;
let peer: ScriptedPeer;
let client: FileClient;

beforeAll(async () => {
  tls = await makeTestTls();
});

beforeEach(async () => {
  main = await MainNode.open();
  const connect = () => new ScriptedPeer({ main, tls, fileServerUrl: main.fileUrl });
  peer = connect();
  client = new FileClient({
    nodeId: 'node',
    open: async () => {
      if (!peer.multiplexer.isOpen) peer = connect();
      return peer.secure(PORTS.proxySecure);
    },
  });
});

afterEach(async () => {
  await peer.close();
  await main.close();
});

async function readAll(url: string, offset = 0, onPiece: (count: number) => Promise<void> = async () => undefined) {
  const pieces: Uint8Array[] = [];
  for await (const piece of client.read(url, offset, never)) {
    pieces.push(piece);
    await onPiece(pieces.length);
  }
  return Buffer.concat(pieces);
}

describe('files through the proxy', () => {
  test('[MP-07] a file arrives equal, from its beginning and from an offset', async () => {
    const file = randomBytes(500_000);
    main.files.set('/a', file);
    expect((await readAll(`${main.fileUrl}/a`)).equals(file)).toBe(true);
    expect((await readAll(`${main.fileUrl}/a`, 123_456)).equals(file.subarray(123_456))).toBe(true);
  });

  test('[MP-07] a slow reader ends the download and has it begun again at its offset; the file is equal', async () => {
    const file = randomBytes(12 * 1024 * 1024);
    main.files.set('/a', file);
    const got = await readAll(`${main.fileUrl}/a`, 0, async (count) => {
      if (count !== 1) return;
      // Until the client has had enough; what follows is asked for anew.
      await expect.poll(() => main.requests.length).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 1500));
    });
    expect(got.equals(file)).toBe(true);
    expect(main.requests.length).toBeGreaterThan(1);
    expect(main.requests[1]?.range).toMatch(/^bytes=\d+-$/);
  });

  test('[MP-11] a download whose link breaks says so, and the local file server goes on where it was', async () => {
    const file = randomBytes(3 * 1024 * 1024);
    main.files.set('/a', file);
    const door = await FileDoor.open({
      listen: '127.0.0.1:0',
      addressOf: () => Promise.resolve(`${main.fileUrl}/a`),
      read: (url, offset, signal) => client.read(url, offset, signal),
      clock: { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) },
      logger: silentLogger,
    });
    try {
      const response = await fetch(door.offer('sha256:a'));
      const pieces: Uint8Array[] = [];
      let isCut = false;
      for await (const piece of response.body!) {
        pieces.push(piece);
        if (isCut) continue;
        isCut = true;
        peer.multiplexer.close(new AosError('eof', 'the link was cut'));
      }
      expect(Buffer.concat(pieces).equals(file)).toBe(true);
      expect(main.requests.length).toBeGreaterThan(1);
      const rest = await fetch(door.offer('sha256:a'), { headers: { range: 'bytes=1000000-' } });
      expect(rest.status).toBe(206);
      expect(Buffer.from(await rest.arrayBuffer()).equals(file.subarray(1_000_000))).toBe(true);
      expect((await fetch(door.offer('sha256:a').replace('sha256', 'sha512'))).status).toBe(404);
    } finally {
      await door.stop();
    }
  });

  test('[R-06] whatever address a local program asks for, it is answered, and the next one is served', async () => {
    main.files.set('/a', Buffer.from('content'));
    const door = await FileDoor.open({
      listen: '127.0.0.1:0',
      addressOf: () => Promise.resolve(`${main.fileUrl}/a`),
      read: (url, offset, signal) => client.read(url, offset, signal),
      clock: systemClock,
      logger: silentLogger,
    });
    try {
      const offered = door.offer('sha256:a');
      const { origin } = new URL(offered);
      for (const path of ['/', '/blobs/', '/blobs/%zz', '/blobs/%', '/other/sha256:a', '/blobs/sha256:b']) {
        expect([path, (await fetch(`${origin}${path}`)).status]).toEqual([path, 404]);
      }
      expect((await fetch(offered, { method: 'POST' })).status).toBe(404);
      expect(await (await fetch(offered)).text()).toBe('content');
    } finally {
      await door.stop();
    }
  });
});

/**
 * Images on their way to a unit: blob servers that lie, stall and send on and on, a disk that fills up, and an image much
 * larger than the memory of the CM. `AOS_IMAGE_BYTES=2000000000` makes that one as large as a device's firmware.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, statfsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BlobProxy, type Exchange, sendRest, type Trouble } from './blob-proxy.ts';
import { busyboxLayer, noise } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 180_000;
const MIB = 1024 * 1024;
const LARGE_BYTES = Number(process.env.AOS_IMAGE_BYTES ?? 160 * MIB);
/** Above what the CM has when nothing is to be done. */
const MOST_MEMORY_BYTES = 80 * MIB;
const tag = randomBytes(3).toString('hex');
const named = (name: string) => `${name}-${tag}`;

let world: World;
let proxy: BlobProxy;
let disk: string;
let mounted: string;

beforeAll(async () => {
  disk = await mkdtemp(join(tmpdir(), 'aos-e2e-disk-'));
  mounted = join(disk, 'mounted');
  await mkdir(mounted);
  const file = await open(join(disk, 'image'), 'w');
  // Room for the large image once: it is decrypted on its way. The file has holes; nothing of it is there until it is used.
  await file.truncate(LARGE_BYTES + 128 * MIB);
  await file.close();
  execFileSync('mkfs.ext4', ['-q', '-m', '0', join(disk, 'image')]);
  execFileSync('mount', ['-o', 'loop', join(disk, 'image'), mounted]);
  proxy = await BlobProxy.open();
  const paths = { installPath: join(mounted, 'install'), downloadPath: join(mounted, 'download') };
  world = await World.create({
    cloud: { config: { blobsUrl: proxy.url } },
    unit: { config: { cm: { imageManager: paths, unitStatusSendTimeout: '100ms', alerts: { sendPeriod: '200ms' } } } },
  });
  proxy.standBefore(world.cloud.endpoints.blobsUrl, world.cloud.layout.rootCa);
  await world.provision();
  await world.publishBusybox(named('steady'), '1.0.0');
  await world.deploy(named('steady'), '1.0.0');
}, STORY_MS);

afterEach(() => proxy.mend());

afterAll(async () => {
  await world?.close();
  await proxy?.close();
  execFileSync('umount', ['-l', mounted]);
  await rm(disk, { recursive: true, force: true });
}, STORY_MS);

const undeploy = (itemId: string) =>
  world.rest.send('DELETE', `/api/units/${world.systemId}/deployments/${named(itemId)}`);

const untilOver = () => world.untilUnit('the update has ended', ({ update }) => update.state === 'none');

/** What is wrong with an item, in words, once the unit has given it up. */
async function untilFailed(itemId: string): Promise<string> {
  const { items } = await world.untilUnit(`${itemId} is failed`, ({ items: all }) =>
    all.some((item) => item.itemId === named(itemId) && item.state === 'failed'),
  );
  return items.find((item) => item.itemId === named(itemId))!.error?.message ?? '';
}

/** Every blob is whole, and nothing else lies there. */
async function expectCleanStore(): Promise<void> {
  const directory = join(mounted, 'install', 'blobs', 'sha256');
  for (const name of await readdir(directory)) {
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(directory, name)), hash);
    expect(hash.digest('hex')).toBe(name);
  }
  expect(await readdir(join(mounted, 'download', 'blobs', 'sha256'))).toEqual([]);
}

/** Runs something, and answers by how many bytes the CM grew meanwhile, at the most. */
async function memoryOf(work: () => Promise<void>): Promise<number> {
  const { pid } = world.unit.supervisor.daemon('aos-cm');
  const bytes = async (key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
  // Forgets the largest size so far.
  await writeFile(`/proc/${pid}/clear_refs`, '5');
  const before = await bytes('VmRSS');
  await work();
  return (await bytes('VmHWM')) - before;
}

/** Sizes by which the proxy knows the items. */
const size = (index: number) => 200_000 + 20_000 * index;

async function publishWith(troubles: Readonly<Record<string, Trouble>>): Promise<void> {
  for (const [index, [itemId, trouble]] of Object.entries(troubles).entries()) {
    proxy.trouble(size(index), trouble);
    await world.publishBusybox(named(itemId), '1.0.0', {}, size(index));
  }
}

describe('a server of blobs', () => {
  const endless: Trouble = async ({ response }) => {
    const piece = randomBytes(MIB);
    response.writeHead(200);
    while (!response.destroyed)
      if (!response.write(piece)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
  };
  const tooLong: Trouble = ({ response, content }) => {
    response.writeHead(200, { 'content-length': content.length + 1000 });
    response.end(Buffer.concat([content, Buffer.alloc(1000)]));
  };
  const wrong: Trouble = (exchange) => {
    exchange.content[exchange.content.length >> 1]! ^= 1;
    sendRest(exchange);
  };
  /** Breaks off, and then sends another part than the one that is asked for. */
  const wrongRange: Trouble = (exchange) => {
    const { response, content, from, before } = exchange;
    if (before === 0) {
      sendRest(exchange, 100_000);
      setTimeout(() => response.destroy(), 50);
    } else if (from > 0) {
      response.writeHead(206, { 'content-range': `bytes 0-${content.length - 1}/${content.length}` });
      response.end(content);
    } else sendRest(exchange);
  };
  const breaksOff: Trouble = (exchange) => {
    sendRest(exchange, 150_000);
    setTimeout(() => exchange.response.destroy(), 50);
  };

  test(
    '[CM-41] [CM-42] [CM-46] that lies costs an item that cannot be had, in words, and never memory, space or the others',
    async () => {
      await publishWith({ endless, 'too-long': tooLong, wrong, range: wrongRange, breaks: breaksOff });
      const itemIds = ['endless', 'too-long', 'wrong', 'range', 'breaks'];
      const grown = await memoryOf(async () => {
        for (const itemId of itemIds) await world.wish(named(itemId), '1.0.0');
        expect(await untilFailed('endless')).toMatch(/has more than \d+ bytes/);
        for (const itemId of ['too-long', 'wrong']) expect(await untilFailed(itemId)).toMatch(/checksum is wrong/);
        for (const itemId of ['range', 'breaks']) await world.untilActive(named(itemId), '1.0.0');
      });
      expect(grown).toBeLessThan(MOST_MEMORY_BYTES);
      for (const itemId of itemIds) await undeploy(itemId);
      await world.until('nothing of them runs', world.running.bind(world, undefined), (list) => list.length === 1);
      await untilOver();
      await expectCleanStore();
    },
    STORY_MS,
  );

  const loops: Trouble = ({ request, response }) => void response.writeHead(302, { location: request.url }).end();
  const foreign: Trouble = ({ response, foreignUrl }) => void response.writeHead(302, { location: foreignUrl }).end();
  const drips: Trouble = async ({ response, content }) => {
    response.writeHead(200, { 'content-length': content.length });
    for (let at = 0; !response.destroyed; at += 1) {
      response.write(content.subarray(at, at + 1));
      await sleep(20);
    }
  };

  test(
    '[CM-40] [CM-53] that sends round in circles, is of another authority or drips holds an update only until there is another one',
    async () => {
      await publishWith({ loops, foreign, drips });
      const itemIds = ['loops', 'foreign', 'drips'];
      for (const itemId of itemIds) await world.wish(named(itemId), '1.0.0');
      await world.until(
        'people can know why',
        () => world.must('why', 'update'),
        (told) => /redirects more than 5 times/.test(told) && /does not come.*certificate/.test(told),
      );
      expect((await world.unit.status()).update.state).toBe('downloading');
      for (const itemId of itemIds) await undeploy(itemId);
      const { items } = await untilOver();
      expect(items.filter(({ state }) => state === 'installed').map(({ itemId }) => itemId)).toEqual([named('steady')]);
      await expectCleanStore();

      for (const itemId of itemIds) await world.wish(named(itemId), '1.0.0');
      await world.untilUnit('it is downloading again', ({ update }) => update.state === 'downloading');
      proxy.mend();
      for (const itemId of itemIds) await world.untilActive(named(itemId), '1.0.0');
      for (const itemId of itemIds) await undeploy(itemId);
      await untilOver();
    },
    STORY_MS,
  );
});

describe('a disk', () => {
  const ballast = () => join(mounted, 'ballast');
  const freeBytes = () => {
    const { bavail, bsize } = statfsSync(mounted);
    return bavail * bsize;
  };
  /** Takes all room but so much. */
  const fill = (leaveBytes: number) => execFileSync('fallocate', ['-l', String(freeBytes() - leaveBytes), ballast()]);

  afterEach(() => rm(ballast(), { force: true }));

  /** Sends half, lets something happen, and goes on. */
  function pausing(meanwhile: (exchange: Exchange) => void): Trouble {
    return async (exchange) => {
      if (exchange.before > 0) return sendRest(exchange);
      const { response, content } = exchange;
      const half = content.length >> 1;
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, half));
      await world.until(
        'the half has arrived',
        async () => Math.max(0, ...(await partialSizes())),
        (found) => found >= half - MIB,
      );
      meanwhile(exchange);
      response.end(content.subarray(half));
    };
  }

  async function partialSizes(): Promise<number[]> {
    const directory = join(mounted, 'download', 'blobs', 'sha256');
    const names = await readdir(directory);
    return Promise.all(names.map(async (name) => (await readFile(join(directory, name))).length));
  }

  const BYTES = 8 * MIB;

  const whileItComes = (leaveBytes: number) => () =>
    proxy.trouble(
      BYTES,
      pausing(() => fill(leaveBytes)),
    );

  test.each<[number, string, () => void]>([
    [1, 'before anything comes', () => fill(20 * MIB)],
    [2, 'while an image comes', whileItComes(64 * 1024)],
    [3, 'shortly before the end', whileItComes(2 * MIB)],
  ])(
    '[R-02] [CM-51] %i: that is full %s costs the item, in words, leaves a clean store, and is no hindrance later',
    async (number, _, begin) => {
      const itemId = `full-${number}`;
      await world.publishBusybox(named(itemId), '1.0.0', {}, BYTES);
      begin();
      await world.wish(named(itemId), '1.0.0');
      expect(await untilFailed(itemId)).toMatch(/^not enough space/);
      await untilOver();
      expect(await world.running(named('steady'))).toMatchObject([{ state: 'active' }]);

      await rm(ballast(), { force: true });
      await world.rest.send('POST', `/api/units/${world.systemId}/resend`);
      await world.untilActive(named(itemId), '1.0.0');
      await untilOver();
      await expectCleanStore();
      await undeploy(itemId);
      await untilOver();
    },
    STORY_MS,
  );
});

test(
  '[B-05] an image much larger than the memory of the CM comes without it growing',
  async () => {
    const layers = [busyboxLayer()];
    const cmd = ['/bin/sh', '-c', 'while :; do sleep 1000; done'];
    await world.publishImage(named('large'), '1.0.0', { cmd, layers, zeroBytes: LARGE_BYTES });
    const grown = await memoryOf(async () => {
      await world.wish(named('large'), '1.0.0');
      await world.until(
        'it runs',
        () => world.running(named('large')),
        (list) => list.length === 1 && list[0]!.state === 'active',
        STORY_MS,
      );
    });
    const { pid } = (await world.running(named('large')))[0]!;
    const found = execFileSync('stat', ['-c', '%s', `/proc/${pid}/root/zeros`], { encoding: 'utf8' });
    expect(Number(found)).toBe(LARGE_BYTES);
    expect(grown).toBeLessThan(MOST_MEMORY_BYTES);
    await expectCleanStore();
  },
  STORY_MS,
);

// After the stories of full disks: former versions of an item are room that can be had.
describe('[P-21] of the next version of an item', () => {
  const NEW_BYTES = 30_000;
  const file = noise(4 * MIB, 77);
  let changes = 0;
  /** What nobody has published before: the same as the last time, but for some bytes in its middle. */
  function next(): Buffer {
    changes += 1;
    noise(NEW_BYTES, 1000 + changes).copy(file, 2 * MIB);
    return file;
  }
  const cmd = ['/bin/sh', '-c', 'while :; do sleep 1000; done'];

  /** Publishes it and lets it run; answers how many bytes of blobs that took. */
  async function run(itemId: string, version: number): Promise<number> {
    const layers = [busyboxLayer(), [{ name: 'file', content: next() }]];
    await world.publishImage(named(itemId), `${version}.0.0`, { cmd, layers, plainLayers: true });
    const before = proxy.sentBytes;
    await world.deploy(named(itemId), `${version}.0.0`);
    const { pid } = (await world.running(named(itemId)))[0]!;
    expect((await readFile(`/proc/${pid}/root/file`)).equals(file)).toBe(true);
    return proxy.sentBytes - before;
  }

  test(
    'only what is new goes over the wire',
    async () => {
      expect(await run('delta', 1)).toBeGreaterThan(4 * MIB);
      // A machine that has too much to do makes the delta too late for the first unit that asks; then it is the next one.
      let version = 2;
      let sent = await run('delta', version);
      for (; sent > MIB && version < 6; sent = await run('delta', version)) version += 1;
      expect(sent).toBeLessThan(2 * NEW_BYTES);
      expect(await world.logs()).toContain('a blob was made by a delta');
      await expectCleanStore();
    },
    STORY_MS,
  );

  test(
    'all of it does, when what the delta brings is damaged on its way',
    async () => {
      let damaged = 0;
      await run('damaged-delta', 1);
      proxy.trouble(NEW_BYTES, (exchange) => {
        damaged += 1;
        exchange.content[1000]! ^= 1;
        sendRest(exchange);
      });
      for (let version = 2; damaged === 0 && version < 7; version += 1) {
        expect(await run('damaged-delta', version)).toBeGreaterThan(4 * MIB);
      }
      expect(damaged).toBeGreaterThan(0);
      await expectCleanStore();
    },
    STORY_MS,
  );
});

/** What comes broken from outside is refused by name, and changes nothing; what breaks off goes on. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askControl } from '../../src/daemon/index.ts';
import { busyboxLayer, noise, writeImage } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;
const LARGE_BYTES = 64 * 1024 * 1024;

interface EventEntry {
  readonly about: { readonly kind: string; readonly id: string };
  readonly what: string;
  readonly because: string;
}

let world: World;
let before: Awaited<ReturnType<World['running']>>;

beforeAll(async () => {
  world = await World.create();
  await world.provision();
  await publish('steady', '1.0.0', 1000);
  await world.deploy('steady', '1.0.0');
  before = await world.running('steady');
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

/** An item with a layer of this size that does not compress; answers the digest of that layer. */
async function publish(itemId: string, version: string, sizeBytes: number): Promise<string> {
  const directory = await writeImage(join(world.directory, `image-${itemId}`), {
    cmd: ['/bin/sh', '-c', 'while :; do sleep 1000; done'],
    layers: [busyboxLayer(), [{ name: 'noise', content: noise(sizeBytes, itemId.length) }]],
  });
  await world.must('publish', directory, '--id', itemId, '--version', version);
  const index = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8'));
  const blob = (digest: string) => readFile(join(directory, 'blobs', 'sha256', digest.slice('sha256:'.length)), 'utf8');
  const manifest = JSON.parse(await blob(index.manifests[0].digest));
  return manifest.layers[1].digest;
}

const events = () => askControl<EventEntry[]>(world.unit.layout.sockets.cm, '/events', {});

async function sendFrame(text: string): Promise<void> {
  await world.rest.send('POST', `/api/units/${world.systemId}/frames`, { text });
}

const frame = (header: object, data: object) =>
  JSON.stringify({
    header: { version: 7, systemId: world.systemId, createdAt: '2026-01-01T00:00:00Z', txn: 'broken-1', ...header },
    data,
  });

const EMPTY_STATUS = { messageType: 'desiredStatus', items: [], instances: [] };

test.each([
  ['[CM-12] an unknown message type', () => frame({}, { messageType: 'selfDestruct' }), /messageType.*selfDestruct/],
  ['[CM-12] a wrong version', () => frame({ version: 6 }, EMPTY_STATUS), /header\.version: expected 7, found 6/],
  ['[CM-12] a wrong system id', () => frame({ systemId: 'somebody' }, EMPTY_STATUS), /header\.systemId.*somebody/],
  ['[R-06] broken JSON', () => '{"header": {"version": 7,', /not JSON/],
])(
  '%s is refused by name, and nothing changes',
  async (_, text, expected) => {
    const known = (await events()).length;
    await sendFrame(text());
    const refused = await world.until(
      'the refusal is told',
      async () => (await events()).slice(known),
      (list) => list.some((event) => event.what.startsWith('refused')),
    );
    expect(refused.find((event) => event.what.startsWith('refused'))?.because).toMatch(expected);
    expect(await world.running('steady')).toEqual(before);
  },
  STORY_MS,
);

/** Deploys an item that cannot be had, and answers what the operator is told. */
async function deployInVain(itemId: string): Promise<string> {
  const { code, stderr } = await world.ctl(
    ...['deploy', itemId, '--version', '1.0.0', '--unit', world.systemId, '--wait', '90'],
  );
  expect(code).toBe(1);
  expect(await world.running(itemId)).toEqual([]);
  expect(await world.running('steady')).toEqual(before);
  await world.must('undeploy', itemId, '--unit', world.systemId, '--wait', '60');
  return stderr;
}

const cloudFile = (...parts: string[]) => join(world.cloud.layout.root, 'work', ...parts);

/** The cloud's record of a blob, changed while the cloud is away. */
async function changeBlob(change: (database: DatabaseSync) => void): Promise<void> {
  await world.cloud.goAway();
  const name = readdirSync(cloudFile()).find((entry) => entry.endsWith('.db'))!;
  const database = new DatabaseSync(cloudFile(name));
  change(database);
  database.close();
  await world.cloud.comeBack();
  await world.untilCloud('the unit is online again', (unit) => unit.online);
}

test(
  '[CM-46] [X-14] a blob with one flipped byte is fetched three times, then its item fails by name',
  async () => {
    const digest = await publish('flipped', '1.0.0', 50_000);
    let file = '';
    await changeBlob((database) => {
      file = (database.prepare('SELECT file FROM blobs WHERE digest = ?').get(digest) as { file: string }).file;
    });
    const blob = await open(cloudFile('blobs', file), 'r+');
    const byte = Buffer.alloc(1);
    await blob.read(byte, 0, 1, 20_000);
    await blob.write(Buffer.from([byte[0]! ^ 0x01]), 0, 1, 20_000);
    await blob.close();
    expect(await deployInVain('flipped')).toMatch(/could not install flipped 1\.0\.0: .*checksum is wrong/);
  },
  STORY_MS,
);

test(
  '[CM-45] [X-14] a blob with a wrong signature is refused by name',
  async () => {
    const digest = await publish('forged', '1.0.0', 50_000);
    await changeBlob((database) => {
      const row = database.prepare('SELECT signature FROM blobs WHERE digest = ?').get(digest) as {
        signature: Uint8Array;
      };
      const forged = Buffer.from(row.signature);
      forged[10]! ^= 0xff;
      database.prepare('UPDATE blobs SET signature = ? WHERE digest = ?').run(forged, digest);
    });
    expect(await deployInVain('forged')).toMatch(/could not install forged 1\.0\.0: .*signature/i);
  },
  STORY_MS,
);

/** The largest partial download of the unit, in bytes. */
function partialBytes(): number {
  const directory = join(world.unit.layout.var, 'workdirs', 'cm', 'download');
  if (!existsSync(directory)) return 0;
  const sizes = readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => {
    const stat = statSync(join(directory, name), { throwIfNoEntry: false });
    return stat?.isFile() ? stat.size : 0;
  });
  return Math.max(0, ...sizes);
}

test(
  '[CM-41] a cloud that goes away in the middle of a download finds it going on where it stopped',
  async () => {
    const digest = await publish('large', '1.0.0', LARGE_BYTES);
    await world.rest.send('PUT', `/api/units/${world.systemId}/deployments/large`, { version: '1.0.0' });
    while (partialBytes() < 1024 * 1024) await sleep(1);
    await world.cloud.goAway();
    const arrived = partialBytes();
    expect(arrived).toBeLessThan(LARGE_BYTES);
    await world.cloud.comeBack();
    await world.until(
      'it is active',
      () => world.cloudInstances('large'),
      (list) => list.some((instance) => instance.state === 'active'),
    );
    const log = await readFile(join(world.unit.layout.logs, 'aos-cm.log'), 'utf8');
    const resumed = log
      .split('\n')
      .filter((line) => line.includes('a download goes on where it stopped'))
      .map((line) => JSON.parse(line) as { digest: string; resumedFromBytes: number });
    expect(resumed.some((entry) => entry.digest === digest && entry.resumedFromBytes > 0)).toBe(true);
    expect(await world.running('steady')).toEqual(before);
  },
  STORY_MS,
);

test.each([
  ['iam.cfg', 'aos-iam', { nodeInfo: { nodeType: 7 } }, /nodeInfo\.nodeType.*found 7/],
  ['cm.cfg', 'aos-cm', { unitStatusSendTimeout: true }, /unitStatusSendTimeout.*found true/],
  ['sm.cfg', 'aos-sm', { runtimes: 'crun' }, /runtimes.*found \\"crun\\"/],
] as const)(
  'a value of the wrong type in %s stops the start, with file, key, value and expectation',
  async (name, program, fault, expected) => {
    const path = join(world.unit.layout.etc, name);
    const good = await readFile(path, 'utf8');
    const { supervisor } = world.unit;
    const since = supervisor.history.length;
    try {
      await writeFile(path, JSON.stringify({ ...JSON.parse(good), ...fault }));
      await supervisor.daemon(program).kill('SIGKILL');
      await supervisor.waitFor(
        (event) => event.kind === 'exited' && event.program === program && event.how === 'status 1',
        STORY_MS,
        since,
      );
    } finally {
      await writeFile(path, good);
    }
    await supervisor.untilReady(program);
    const log = await readFile(join(world.unit.layout.logs, `${program}.log`), 'utf8');
    expect(log).toMatch(expected);
    expect(log).toContain(path);
    await world.until(
      'the instance is known again, and was not touched',
      () => world.running('steady'),
      (list) => list[0]?.pid === before[0]?.pid && list[0]?.state === 'active',
    );
  },
  STORY_MS,
);

test(
  'an unknown key in a configuration is a warning that names the nearest known one',
  async () => {
    const path = join(world.unit.layout.etc, 'cm.cfg');
    const good = await readFile(path, 'utf8');
    try {
      await writeFile(path, JSON.stringify({ ...JSON.parse(good), unitStatusSendTimout: '10s' }));
      await world.unit.supervisor.daemon('aos-cm').kill('SIGKILL');
      await world.unit.supervisor.untilReady('aos-cm');
    } finally {
      await writeFile(path, good);
    }
    const log = await readFile(join(world.unit.layout.logs, 'aos-cm.log'), 'utf8');
    expect(log).toMatch(/unitStatusSendTimout.*did you mean \\"unitStatusSendTimeout\\"/);
  },
  STORY_MS,
);

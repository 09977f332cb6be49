/** `aosctl bundle` against a real cloud, `aosctl apply` and `plan` against a CM that is played. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCloud } from '../../cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../cloud/scripted-unit-for-tests.ts';
import { AosError } from '../../core/index.ts';
import { type ControlHandlers, ControlServer } from '../../daemon/index.ts';
import { aosctl } from '../program.ts';
import { readBundleHead } from './read-head.ts';

let directory: string;
let cloud: TestCloud;
let car: ScriptedUnit;
let bundle: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-bundle-'));
  cloud = await TestCloud.start();
  car = await ScriptedUnit.register(cloud);
  await cloud.publish('maps', '1.0.0', Buffer.alloc(300_000, 7));
  await cloud.must('PUT', `${car.path}/deployments/maps`, { version: '1.0.0' });
  bundle = join(directory, 'car.aosbundle');
}, 60_000);

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

const pki = (name: string) => join(cloud.directory, 'work', 'pki', name);

async function run(...args: readonly string[]) {
  let [stdout, stderr] = ['', ''];
  const code = await aosctl(args, {
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    env: {},
    signal: new AbortController().signal,
  });
  return { code, stdout, stderr };
}
const atCloud = (url = cloud.endpoints.restUrl) => [
  ...['--cloud', url, '--ca', pki('root.pem'), '--cert', pki('operator.pem'), '--key', pki('operator-key.pem')],
];

async function withCm<T>(handlers: ControlHandlers, work: (socket: string) => Promise<T>): Promise<T> {
  const socket = join(directory, 'cm.sock');
  const server = await ControlServer.open(socket, handlers);
  try {
    return await work(socket);
  } finally {
    await server.stop();
  }
}

describe('[P-12] aosctl bundle', () => {
  test('writes a file for its owner alone, that begins as a bundle', async () => {
    const said = await run(...atCloud(), 'bundle', bundle, car.systemId);
    expect(said).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/car\.aosbundle is for \S+: \d+ bytes; there: aosctl apply car/),
    });
    expect((await stat(bundle)).mode & 0o777).toBe(0o600);
    expect(await readBundleHead(bundle)).toEqual({ manifest: expect.any(String), signature: expect.any(String) });
  });

  test('is for the unit of --unit when none is named', async () => {
    const said = await run('--json', ...atCloud(), '--unit', car.systemId, 'bundle', bundle);
    expect(JSON.parse(said.stdout)).toMatchObject({
      file: bundle,
      units: [car.systemId],
      sizeBytes: expect.any(Number),
    });
  });

  test('a unit that there is not leaves no file, and the former one as it was', async () => {
    const before = await readFile(bundle);
    const said = await run(...atCloud(), 'bundle', bundle, 'nobody');
    expect(said).toMatchObject({ code: 1, stderr: expect.stringMatching(/there is no unit .*nobody/) });
    expect((await readFile(bundle)).equals(before)).toBe(true);
    expect((await readdir(directory)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('a cloud that breaks off in the middle leaves nothing', async () => {
    const bytes = await readFile(bundle);
    const server = createServer(
      { key: await readFile(pki('server-key.pem')), cert: await readFile(pki('server.pem')) },
      (_, response) => {
        response.writeHead(200, { 'content-type': 'application/x-tar' });
        response.write(bytes.subarray(0, 100_000), () => response.destroy());
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as { port: number };
      const target = join(directory, 'broken.aosbundle');
      const said = await run(...atCloud(`https://127.0.0.1:${port}`), 'bundle', target, car.systemId);
      expect(said.code).not.toBe(0);
      expect(said.stderr).toMatch(/cannot write .*broken\.aosbundle: /);
      expect((await readdir(directory)).filter((name) => name.includes('broken'))).toEqual([]);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

describe('[P-12] aosctl apply', () => {
  const report = {
    bundle: 'sha256:1',
    createdAt: 'then',
    outcome: 'accepted',
    items: [{ itemId: 'maps', version: '1.0.0' }],
  };
  const status = (state: string, more: object = {}) => ({ update: { state }, items: [], instances: [], ...more });

  test('sends the whole file, and waits until the update is over', async () => {
    let received = Buffer.alloc(0);
    const states = ['downloading', 'launching', 'none'];
    const handlers: ControlHandlers = {
      '/bundle/apply': {
        upload: async (source) => {
          for await (const chunk of source) received = Buffer.concat([received, chunk]);
          return report;
        },
      },
      '/status': () => status(states.shift()!),
    };
    await withCm(handlers, async (socket) => {
      const said = await run('--socket', socket, 'apply', bundle, '--wait', '30');
      expect(said).toMatchObject({ code: 0, stdout: 'the bundle of then is carried out\n  maps 1.0.0\n' });
    });
    expect(received.equals(await readFile(bundle))).toBe(true);
    expect(states).toEqual([]);
  });

  test.each([
    [
      'a refusal of the unit, in its words',
      { code: 1, words: /the bundle is too old/ },
      new AosError('wrongState', 'the bundle is too old'),
    ],
    [
      'an item that failed',
      { code: 1, words: /maps 1\.0\.0 failed: no room; "aosctl why maps" tells more/ },
      [{ itemId: 'maps', version: '1.0.0', state: 'failed', error: { message: 'no room' } }],
    ],
  ] as const)('tells %s', async (_, { code, words }, what) => {
    const handlers: ControlHandlers = {
      '/bundle/apply': {
        upload: async () => {
          if (what instanceof AosError) throw what;
          return report;
        },
      },
      '/status': () => status('none', { items: what }),
    };
    await withCm(handlers, async (socket) => {
      const said = await run('--socket', socket, 'apply', bundle, '--wait', '30');
      expect(said).toMatchObject({ code, stderr: expect.stringMatching(words) });
    });
  });

  test('an update that waits is named when the patience ends', async () => {
    const handlers: ControlHandlers = {
      '/bundle/apply': { upload: async () => report },
      '/status': () => ({ ...status('pending'), update: { state: 'pending', waitsFor: 'drive holds a lock' } }),
    };
    await withCm(handlers, async (socket) => {
      const said = await run('--socket', socket, 'apply', bundle, '--wait', '0');
      expect(said).toMatchObject({
        code: 4,
        stderr: expect.stringMatching(/still pending after 0 s, which waits: drive holds a lock/),
      });
    });
  });

  test('what changes nothing says so, and waits for nothing', async () => {
    const handlers: ControlHandlers = { '/bundle/apply': { upload: async () => ({ ...report, outcome: 'as it is' }) } };
    await withCm(handlers, async (socket) => {
      expect((await run('--socket', socket, 'apply', bundle, '--wait', '30')).stdout).toMatch(/changes nothing/);
    });
  });

  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['noise', Buffer.alloc(5000, 0x5a)],
    ['another archive', 'tar'],
    ['a bundle that ends in its head', 'cut'],
  ])('%s is refused before a daemon is asked', async (_, content) => {
    const path = join(directory, 'other');
    const whole = await readFile(bundle);
    const tar = Buffer.from(whole);
    tar.write('hello.txt\0', 0, 'latin1');
    await writeFile(path, content === 'tar' ? tar : content === 'cut' ? whole.subarray(0, 600) : content);
    const said = await run('--socket', join(directory, 'nobody.sock'), 'apply', path);
    expect([said.code, said.stderr]).toEqual([
      expect.any(Number),
      expect.stringMatching(/is no bundle|cut short|damaged/),
    ]);
    expect(said.code).toBe(2);
  });
});

test('[P-11] [P-12] aosctl plan of a bundle hands over its head alone', async () => {
  const head = await readBundleHead(bundle);
  let asked: unknown;
  const plan = { decision: 'nothing', because: 'it is so', download: [], remove: [], refused: [], instances: [] };
  const handlers: ControlHandlers = {
    '/bundle/plan': (body) => {
      asked = body;
      return plan;
    },
  };
  await withCm(handlers, async (socket) => {
    expect(await run('--socket', socket, 'plan', bundle)).toMatchObject({ code: 0, stdout: 'no update: it is so\n' });
  });
  expect(asked).toEqual(head);
});

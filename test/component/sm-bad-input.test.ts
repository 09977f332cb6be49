/**
 * What an item asks for in vain: the instance fails with the reason in words, everything that was begun for it is gone
 * from the host, counted from outside, and the instance beside it does not notice.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTimeOf } from '../../devenv/daemon-process.ts';
import { type Belongings, countBelongings } from '../../scripts/soak/belongings.ts';
import { instanceId } from '../../src/core/index.ts';
import { askControl } from '../../src/daemon/index.ts';
import type { KeptAlert } from '../../src/sm/alerts/index.ts';
import type { ScriptedStream } from '../../src/sm/client/scripted-cm-for-tests.ts';
import { buildSm, type ServiceOptions, SmNode, type WantedService } from './sm-node.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const STORY_MS = 90_000;
const MIB = 1024 * 1024;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;
let stream: ScriptedStream;
let steady: WantedService;
let steadyPid: number;

beforeAll(async () => {
  built = await buildSm();
  node = await SmNode.create(built.bundle, {}, { hasOwnNetwork: true });
  const config = JSON.parse(await readFile(node.at('sm.cfg'), 'utf8'));
  config.runtimes[0].config.crunExecutable = node.at('crun');
  await writeFile(node.at('sm.cfg'), JSON.stringify(config));
  await writeFile(node.at('crun'), '#!/bin/sh\nexec crun "$@"\n');
  await chmod(node.at('crun'), 0o755);
  await writeFile(
    node.at('resources.cfg'),
    JSON.stringify([
      { name: 'radar', devices: ['/dev/no-such-radar'] },
      { name: 'lamp', groups: ['no-such-group'] },
      { name: 'tape', mounts: [{ destination: '/tape', source: '/no/such/tape', options: ['bind', 'ro'] }] },
    ]),
  );
  // File systems of the node that can be filled and made read-only.
  for (const name of ['runtime', 'storages', 'work/images']) {
    await mkdir(node.at(name), { recursive: true });
    await run('mount', ['-t', 'tmpfs', '-o', `size=${32 * MIB}`, 'tmpfs', node.at(name)]);
  }
  await node.start();
  stream = (await node.introduced()).stream;
  steady = node.service('steady', await node.publish(), { storagePath: 'steady' });
  expect(await node.update(stream, [steady])).toEqual({ steady: 'active' });
  steadyPid = (await node.pids()).steady!;
  // What helps with starts and removals stays from the first one on.
  const first = node.service('first', await node.publish());
  expect(await node.update(stream, [first])).toMatchObject({ first: 'active' });
  await node.update(stream, [], [first]);
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(built.directory, { recursive: true, force: true });
}, STORY_MS);

type Held = Omit<Belongings, 'descriptors' | 'diskBytes' | 'privateBytes'>;

function held(ids: readonly string[]): Held {
  const { namespace } = node;
  const all = countBelongings({ pid: node.pid, directory: node.directory, ids, namespace }, [
    node.at('runtime'),
    node.at('oci'),
  ]);
  const { descriptors: _, diskBytes: __, privateBytes: ___, ...rest } = all;
  return rest;
}

/** What the request for one more service told of it, and the log; the host holds what it held before, `steady` goes on. */
async function startInVain(bad: WantedService): Promise<string> {
  const ids = [steady, bad].map(({ ident }) => instanceId(ident));
  const before = held(ids);
  const logged = (await readFile(node.at('sm.log'), 'utf8')).length;
  expect(before.rules).toBeGreaterThan(0);
  try {
    const told = await node.updateAll(stream, [steady, bad]);
    // One that falls right away is tried once more; helpers end a moment after what they helped with.
    await until(
      `${bad.ident.itemId} is gone from the host`,
      () => held(ids),
      (now) => isDeepStrictEqual(now, before),
      20_000,
    ).catch(() => expect(held(ids)).toEqual(before));
    const status = told.find(({ instance }) => instance?.itemId === bad.ident.itemId);
    const known = (await node.instances()).find(({ id }) => id === instanceId(bad.ident));
    expect(known?.state ?? status?.state).toBe('failed');
    return `${status?.error?.message}\n${(await readFile(node.at('sm.log'), 'utf8')).slice(logged)}`;
  } finally {
    expect(await node.update(stream, [steady], [bad])).toEqual({ steady: 'active' });
    expect(held(ids)).toEqual(before);
    expect((await node.pids()).steady).toBe(steadyPid);
    expect(startTimeOf(steadyPid)).toBeDefined();
  }
}

const asking = (...resources: readonly string[]): ServiceOptions => ({ itemConfig: { resources } });
const runParameters = { startBurst: 1, startInterval: '1h', restartInterval: '100ms' };
const noInterpreter = { name: 'bin/run', mode: 0o755, content: '#!/bin/no-such-shell\necho never\n' };

/** What this node has told of a resource that an instance was refused. */
async function resourceAlerts(itemId: string): Promise<string[]> {
  const alerts = await askControl<KeptAlert[]>(node.at('sm.sock'), '/alerts');
  const told = alerts.filter(({ kind, about }) => kind === 'resourceAllocateAlert' && about?.startsWith(`${itemId}/`));
  return told.map(({ message }) => message);
}

test.each<[string, string, RegExp, string]>([
  ['SM-31', 'device', /device \/dev\/no-such-radar.*(?:ENOENT|no such file)/i, 'radar'],
  ['SM-33', 'resource', /this node has no resource "lidar"/, 'lidar'],
  ['SM-31', 'group', /this node has no group "no-such-group"/, 'lamp'],
  ['SM-31', 'source of a mount', /\/no\/such\/tape for \/tape is not on this node/, 'tape'],
])(
  '[%s] [SM-32] [R-06] a missing %s fails the instance by name, is an alert, and nothing of it stays',
  async (_, what, words, resource) => {
    const itemId = `no-${what.replaceAll(' ', '-')}`;
    expect(await startInVain(node.service(itemId, await node.publish(asking(resource))))).toMatch(words);
    expect(await resourceAlerts(itemId)).toEqual([expect.stringMatching(words)]);
  },
  STORY_MS,
);

test.each<[string, string, RegExp, ServiceOptions, Partial<WantedService>?]>([
  ['SM-13', 'command', /cannot start the container: .*\/bin\/nothing/, { cmd: ['/bin/nothing'] }],
  [
    'SM-13',
    'interpreter',
    /\/bin\/run needs \/bin\/no-such-shell, which/,
    { cmd: ['/bin/run'], files: [noInterpreter], itemConfig: { runParameters } },
  ],
  ['SM-13', 'user', /uid 0 and gid 5000: a service needs a user of its own/, {}, { uid: 0 }],
])(
  '[%s] [R-06] a missing %s fails the instance by name, and nothing of it stays',
  async (_, what, words, options, more) => {
    const itemId = `no-${what.replaceAll(' ', '-')}`;
    expect(await startInVain(node.service(itemId, await node.publish(options), more))).toMatch(words);
  },
  STORY_MS,
);

test(
  '[SM-05] [R-06] a missing layer fails the instance by its digest, and nothing of it stays',
  async () => {
    const digest = await node.publish({ files: [{ name: 'other', content: 'layer' }] });
    const manifest = JSON.parse(await readFile(node.at('blobs', digest), 'utf8'));
    const layer: string = manifest.layers[0].digest;
    node.cm.blobs.delete(layer);
    const words = await startInVain(node.service('no-layer', digest));
    expect(words).toContain(`layer 0 of no-layer 1.0.0 (${layer})`);
    expect(words).toContain(`the CM has no address for blob ${layer}`);
  },
  STORY_MS,
);

test(
  '[SM-13] [R-06] a wrong value is refused with its path, an unknown field is a warning',
  async () => {
    const wrong = await node.publish({ itemConfig: { quotas: { ramLimit: 'much' } } });
    expect(await startInVain(node.service('wrong-value', wrong))).toMatch(/quotas\.ramLimit: .*found .{0,3}much/);

    const odd = node.service('odd', await node.publish({ itemConfig: { hostnam: 'radio' } }));
    const states = await node.update(stream, [steady, odd]);
    await node.update(stream, [steady], [odd]);
    expect(states).toEqual({ steady: 'active', odd: 'active' });
    // The log is JSON: its quotes are escaped.
    expect(await readFile(node.at('sm.log'), 'utf8')).toContain('unknown key \\"hostnam\\" is ignored; did you mean');
  },
  STORY_MS,
);

/** Works while something is wrong with the node. */
async function during(wrong: () => Promise<unknown>, work: () => Promise<void>, right: () => Promise<unknown>) {
  await wrong();
  await work().finally(right);
}

const remount = (name: string, how: 'ro' | 'rw') => run('mount', ['-o', `remount,${how}`, node.at(name)]);

test(
  '[SM-29] [R-02] a read-only disk fails the instance by the path that cannot be written, and nothing of it stays',
  async () => {
    const digest = await node.publish({ itemConfig: { quotas: { storageLimit: MIB } } });
    const blind = node.service('read-only', digest, { storagePath: 'read-only' });
    await during(
      () => remount('storages', 'ro'),
      async () => expect(await startInVain(blind)).toMatch(/EROFS.*storages\/read-only/),
      () => remount('storages', 'rw'),
    );
    const fresh = await node.publish({ files: [{ name: 'fresh', content: 'fresh' }] });
    await during(
      () => remount('work/images', 'ro'),
      async () => expect(await startInVain(node.service('not-here', fresh))).toMatch(/cannot install not-here.*EROFS/),
      () => remount('work/images', 'rw'),
    );
  },
  STORY_MS,
);

test(
  '[R-02] a full disk fails the instance in words, and nothing of it stays; with space it starts',
  async () => {
    const full = node.service('full', await node.publish());
    const ballast = node.at('runtime', 'ballast');
    await during(
      () =>
        run('sh', ['-c', `dd if=/dev/zero of=${ballast} bs=1M 2>/dev/null; dd if=/dev/zero bs=1 >>${ballast}; true`]),
      async () => expect(await startInVain(full)).toMatch(/ENOSPC/),
      () => rm(ballast, { force: true }),
    );
    expect(await node.update(stream, [steady, full])).toEqual({ steady: 'active', full: 'active' });
    await node.update(stream, [steady], [full]);
  },
  STORY_MS,
);

test(
  '[SM-18] [SM-19] [R-06] a runtime that has gone missing fails the instance by its path; with it back the next request starts it, and without it a stop gives everything back',
  async () => {
    const late = node.service('late', await node.publish());
    await during(
      () => rename(node.at('crun'), node.at('crun-away')),
      async () => expect(await startInVain(late)).toContain(node.at('crun')),
      () => rename(node.at('crun-away'), node.at('crun')),
    );
    const ids = [steady, late].map(({ ident }) => instanceId(ident));
    const before = held(ids);
    expect(await node.update(stream, [steady, late])).toEqual({ steady: 'active', late: 'active' });
    expect(held(ids)).not.toEqual(before);
    // Nor does it keep anything from being given back.
    await during(
      () => rename(node.at('crun'), node.at('crun-away')),
      async () => expect(await node.update(stream, [steady], [late])).toEqual({ steady: 'active' }),
      () => rename(node.at('crun-away'), node.at('crun')),
    );
    await until(
      'nothing of it is left on the host',
      () => held(ids),
      (now) => isDeepStrictEqual(now, before),
      20_000,
    ).catch(() => expect(held(ids)).toEqual(before));
    expect((await node.pids()).steady).toBe(steadyPid);
  },
  STORY_MS,
);

import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AosError } from '../../core/index.ts';
import { NodeResource, NodeResources, refusedResource } from '../resources/index.ts';
import { Bundle } from './bundle.ts';
import { type BundleParts, prepareBundle } from './prepare-bundle.ts';
import { LOOPBACK, service } from './runtime-for-tests.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-bundle-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Makes state and storage, and no root. */
async function prepareData(): Promise<void> {
  const parts = {
    resources: new NodeResources([]),
    directories: { stateDir: join(directory, 'states'), storageDir: join(directory, 'storages') },
    roots: { prepare: () => Promise.reject(new Error('enough')) },
  } as unknown as BundleParts;
  const info = { ident: {}, uid: 5000, gid: 5001, statePath: 'a/state.dat', storagePath: 'a', envVars: [] };
  const request = { info: info as never, item: service('true'), network: LOOPBACK };
  const prepared = prepareBundle(new Bundle(directory, 'id'), request, parts, new AbortController().signal);
  await expect(prepared).rejects.toThrow('enough');
}

test.runIf(process.getuid?.() === 0)(
  '[R-01] state and storage that a kill left to root are given to the service; what it has already is left as it is',
  async () => {
    const [state, storage] = [join(directory, 'states/a/state.dat'), join(directory, 'storages/a')];
    await mkdir(join(directory, 'states/a'), { recursive: true });
    await mkdir(storage, { recursive: true });
    await writeFile(state, '', { mode: 0o600 });
    await prepareData();
    for (const path of [state, storage]) expect(await stat(path)).toMatchObject({ uid: 5000, gid: 5001 });
    await writeFile(state, 'kept');
    const before = await stat(state);
    await prepareData();
    expect(await stat(state)).toMatchObject({ size: 4, ctimeMs: before.ctimeMs });
  },
);

const RESOURCES = [
  { name: 'bus', envs: ['BUS=1'] },
  { name: 'radar', devices: ['/dev/null', '/dev/no-such-radar'] },
  { name: 'lamp', groups: ['no-such-group'] },
  { name: 'tape', mounts: [{ destination: '/tape', source: '/no/such/tape', options: ['bind', 'ro'] }] },
];

/** Nothing but resources is looked at before all of them are found. */
async function refusal(...names: readonly string[]): Promise<AosError> {
  const item = service('true', { config: { resources: names.map((name) => ({ name })) } });
  const parts = {
    resources: new NodeResources(RESOURCES.map((resource) => NodeResource.parse(resource))),
    directories: { stateDir: join(directory, 'states'), storageDir: join(directory, 'storages') },
  } as BundleParts;
  const bundle = new Bundle(directory, 'id');
  const info = { ident: {}, uid: 5000, gid: 5000, statePath: '', storagePath: '', envVars: [] };
  const request = { info: info as never, item, network: LOOPBACK };
  return prepareBundle(bundle, request, parts, new AbortController().signal).then(
    () => expect.fail('it was prepared'),
    (error) => error as AosError,
  );
}

test.each([
  ['device', ['bus', 'radar'], 'radar', /^device \/dev\/no-such-radar: .*no such file.* \(resource "radar"\)$/],
  ['group', ['lamp'], 'lamp', /^this node has no group "no-such-group" \(resource "lamp"\)$/],
  ['source of a mount', ['tape'], 'tape', /^\/no\/such\/tape for \/tape is not on this node \(resource "tape"\)$/],
  ['entry of the node', ['bus', 'sonar'], 'sonar', /^this node has no resource "sonar"$/],
])('[SM-31] [SM-32] a missing %s is refused by the name of the resource, and nothing is made', async (...row) => {
  const [, names, resource, words] = row;
  const error = await refusal(...names);
  expect(error.code).toBe('notFound');
  expect(error.message).toMatch(words);
  expect(refusedResource(error)).toBe(resource);
  expect(await readdir(directory)).toEqual([]);
});

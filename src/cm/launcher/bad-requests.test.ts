/** Requests that cannot be met: each has its own error, none stops another (spec/cm.md 4.3, 4.7). */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { ItemConfigDocument } from '../../oci/index.ts';
import type { RunRequest } from '../model.ts';
import { request, TestUnit } from './unit-for-tests.ts';

let unit: TestUnit | undefined;

afterEach(async () => {
  await unit?.close();
  unit = undefined;
});

interface Bad {
  readonly config?: ItemConfigDocument;
  readonly architecture?: string;
  readonly more?: Partial<RunRequest>;
  readonly isUnknown?: true;
  readonly words: RegExp;
}

const BAD: Readonly<Record<string, Bad>> = {
  'unknown-item': { isUnknown: true, words: /item not found/ },
  'unknown-version': { isUnknown: true, more: { version: '' }, words: /item not found/ },
  'unknown-label': { more: { labels: ['moon'] }, words: /no nodes with instance labels/ },
  'unknown-runtime': { config: { runtimes: [{ codename: 'vm' }] }, words: /no runtimes with requested runtime type/ },
  'unknown-resource': {
    config: { resources: [{ name: 'warp-drive' }] },
    words: /no nodes with with service resources/,
  },
  'unknown-platform': { architecture: 'vax', words: /no runtimes with requested platform/ },
  'too-much-cpu': { config: { quotas: { cpuDMIPSLimit: 10_000_000 } }, words: /no runtimes with requested CPU/ },
  'too-much-ram': { config: { quotas: { ramLimit: 2 ** 50 } }, words: /no runtimes with requested RAM/ },
  'too-much-storage': { config: { quotas: { storageLimit: 2 ** 60 } }, words: /not enough storage space/ },
  'too-much-state': { config: { quotas: { stateLimit: 2 ** 60 } }, words: /not enough (storage|state) space/ },
  'too-many': { more: { numInstances: 4_000_000_000 }, words: /4000000000 instances, there is room for/ },
  'fits/../../nowhere': { config: { quotas: { storageLimit: 1 } }, words: /cannot be the name of a directory/ },
  'no-place': {
    config: { runtimes: [{ codename: 'boot' }] },
    more: { type: 'component', numInstances: 0 },
    words: /no runtimes with requested runtime type/,
  },
  'no-image': { isUnknown: true, more: { type: 'component', numInstances: 0 }, words: /item not found/ },
};

function requestOf(itemId: string): RunRequest {
  return request(itemId, '1.0.0', 1, BAD[itemId]?.more ?? {});
}

async function createUnit(): Promise<TestUnit> {
  unit = await TestUnit.create();
  unit.addItem({ itemId: 'good', version: '1.0.0', config: { quotas: { storageLimit: 1000 } } });
  for (const [itemId, { config = {}, architecture = 'amd64', isUnknown }] of Object.entries(BAD)) {
    if (!isUnknown) unit.addItem({ itemId, version: '1.0.0', config, architecture });
  }
  unit.connect('main');
  return unit;
}

test.each(Object.entries(BAD))(
  '[CM-72] %s has its own error, and the one beside it runs',
  async (itemId, { words }) => {
    const unit = await createUnit();
    await unit.launch({ ...requestOf(itemId), priority: 1 }, request('good', '1.0.0'));
    const statuses = unit.launcher.statuses();
    expect(statuses.filter(({ ident }) => ident.itemId === itemId)).toMatchObject([
      { state: 'failed', nodeId: '', error: { message: expect.stringMatching(words) } },
    ]);
    expect(statuses.filter(({ ident }) => ident.itemId === 'good')).toMatchObject([
      { state: 'active', nodeId: 'main' },
    ]);
  },
);

test('[CM-72] all of them at once, before and behind good ones, each with its own words', async () => {
  const unit = await createUnit();
  const bad = Object.keys(BAD).map(requestOf);
  await unit.launch(request('good', '1.0.0', 3), ...bad, request('good', '1.0.0', 2, { subject: LAST }));
  const states = new Map(unit.launcher.statuses().map(({ ident, state }) => [ident.itemId, state]));
  expect(states.get('good')).toBe('active');
  for (const [itemId, { words }] of Object.entries(BAD)) {
    const error = unit.launcher.statuses().find(({ ident }) => ident.itemId === itemId)?.error?.message;
    expect(error, itemId).toMatch(words);
  }
  expect(unit.summary().filter((line) => line.includes('active'))).toHaveLength(5);
  expect(await readdir(join(unit.directory, 'storages'))).toEqual(['good']);

  // What was bad and becomes good, runs.
  for (const itemId of Object.keys(BAD)) unit.addItem({ itemId, version: '1.0.0' });
  await unit.launch(request('good', '1.0.0', 3), request('unknown-item', '1.0.0'), request('too-many', '1.0.0'));
  expect(unit.summary().filter((line) => line.includes('active'))).toHaveLength(5);
});

const LAST = { id: 'last', type: 'group', isUnitSubject: false } as const;

test('a subject that nobody has keeps its instances from running, and no others', async () => {
  const unit = await createUnit();
  unit.launcher.setSubjects(['present']);
  const of = (id: string) => ({ subject: { id, type: 'user', isUnitSubject: true } as const });
  await unit.launch(request('good', '1.0.0', 1, of('absent')), request('good', '1.0.0', 1, of('present')));
  expect(unit.launcher.statuses().map(({ ident, state }) => `${ident.subjectId} ${state}`)).toEqual(['present active']);
});

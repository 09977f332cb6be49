import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ERROR_CODES, silentLogger } from '../../core/index.ts';
import { type NodeConfig, NodeConfigKeeper } from './node-config.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-node-config-'));
  path = join(directory, 'aos_node.cfg');
});
afterEach(() => rm(directory, { recursive: true }));

const open = () => NodeConfigKeeper.open(path, silentLogger);
const config = (extra: object = {}) => JSON.stringify({ NodeGroupSubject: { codename: 'main' }, ...extra });

test('[SM-47] a node config goes from absent to installed, and is there after a restart', async () => {
  const keeper = await open();
  expect(keeper.status()).toEqual({ state: 'absent', version: '' });
  expect(keeper.check(config(), '1.0.0')).toEqual({ state: 'absent', version: '1.0.0' });
  expect(await keeper.set(config({ labels: ['gpu'] }), '1.0.0')).toEqual({ state: 'absent', version: '1.0.0' });
  expect(keeper.status()).toEqual({ state: 'installed', version: '1.0.0' });

  const again = await open();
  expect(again.status()).toEqual({ state: 'installed', version: '1.0.0' });
  expect(again.config?.labels).toEqual(['gpu']);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('[SM-47] an equal, a lower and a malformed version are refused, each with its code', async () => {
  const keeper = await open();
  await keeper.set(config(), '2.0.0');
  expect(keeper.check(config(), '2.0.0').error?.aosCode).toBe(ERROR_CODES.alreadyExist);
  expect(keeper.check(config(), '1.9.0').error?.aosCode).toBe(ERROR_CODES.wrongState);
  expect(keeper.check(config(), 'two').error?.aosCode).toBe(ERROR_CODES.invalidArgument);
  expect((await keeper.set(config(), '1.0.0')).error?.aosCode).toBe(ERROR_CODES.wrongState);
  expect(keeper.status().version).toBe('2.0.0');
});

test('[SM-47] of two configs that come at once the later one is compared with the former', async () => {
  const keeper = await open();
  const answers = await Promise.all([
    keeper.set(config({ labels: ['new'] }), '2.0.0'),
    keeper.set(config({ labels: ['old'] }), '1.0.0'),
    keeper.set(config({ labels: ['newer'] }), '3.0.0'),
  ]);
  expect(answers.map(({ state, error }) => [state, error?.aosCode])).toEqual([
    ['absent', undefined],
    ['installed', ERROR_CODES.wrongState],
    ['installed', undefined],
  ]);
  expect(keeper.config).toMatchObject({ version: '3.0.0', labels: ['newer'] });
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ version: '3.0.0', labels: ['newer'] });
});

test.each([
  ['no JSON', '{'],
  ['no group', '{}'],
  ['a threshold that is a text', config({ alertRules: { cpu: { maxThreshold: 'high' } } })],
])('a node config with %s is refused as an invalid argument and changes nothing', async (_, text) => {
  const keeper = await open();
  await keeper.set(config(), '1.0.0');
  expect(keeper.check(text, '2.0.0')).toMatchObject({ state: 'installed', version: '2.0.0', error: { aosCode: 6 } });
  expect((await keeper.set(text, '2.0.0')).error?.aosCode).toBe(ERROR_CODES.invalidArgument);
  expect(keeper.status()).toEqual({ state: 'installed', version: '1.0.0' });
});

test('[SM-47] a damaged file is reported as failed, and a new config is the way out', async () => {
  await writeFile(path, 'not a config');
  const keeper = await open();
  expect(keeper.status()).toMatchObject({ state: 'failed', error: { aosCode: ERROR_CODES.invalidArgument } });
  expect(keeper.check(config(), '1.0.0').error?.aosCode).toBe(ERROR_CODES.invalidArgument);
  expect((await keeper.set(config(), '1.0.0')).error).toBeUndefined();
  expect(keeper.status()).toEqual({ state: 'installed', version: '1.0.0' });
});

test('the version of the message stands in the file, whatever the text says, and listeners hear of the new rules', async () => {
  const keeper = await open();
  const heard: NodeConfig[] = [];
  keeper.onChange((value) => heard.push(value));
  await keeper.set(config({ Version: '9.9.9', alertRules: { cpu: { minThreshold: 70, maxThreshold: 80 } } }), '1.2.3');
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ version: '1.2.3' });
  expect(heard).toMatchObject([{ version: '1.2.3', alertRules: { cpu: { minThreshold: 70, maxThreshold: 80 } } }]);
});

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { iamNode, TestUnit, type TestUnitOptions, until } from '../launcher/unit-for-tests.ts';
import type { ScriptedSm } from '../nodes/scripted-sm-for-tests.ts';
import { nodeConfigOf, parseUnitConfig, writeNodeConfig, writeUnitConfig } from './document.ts';

let unit: TestUnit | undefined;

async function createUnit(options: TestUnitOptions = {}): Promise<TestUnit> {
  unit = await TestUnit.create(options);
  return unit;
}

afterEach(async () => {
  await unit?.close();
  unit = undefined;
});

const forAll = { nodeGroupSubject: { codename: 'generic' }, labels: ['all'] };

describe('the document', () => {
  test('[CM-95] the entry of a node wins over the one of its type', () => {
    const document = parseUnitConfig(
      JSON.stringify({
        formatVersion: '1',
        version: '1.0.0',
        nodes: [forAll, { ...forAll, node: { codename: 'n1' }, priority: 7, labels: ['mine'] }],
      }),
    );
    expect(nodeConfigOf(document, 'n1', 'generic')).toMatchObject({ priority: 7, labels: ['mine'] });
    expect(nodeConfigOf(document, 'n2', 'generic')).toMatchObject({ priority: 0, labels: ['all'] });
    expect(nodeConfigOf(document, 'n3', 'other')).toMatchObject({ priority: 0, labels: [] });
  });

  test('[CM-93] an entry without the type of its nodes is refused by name', () => {
    expect(() => parseUnitConfig('{"version":"1.0.0","nodes":[{}]}')).toThrow('nodeGroupSubject codename is missing');
  });

  test.each<[string, unknown, RegExp]>([
    ['no document', null, /unit config/],
    ['no version', { nodes: [] }, /version/],
    ['nodes that are no list', { version: '1.0.0', nodes: {} }, /nodes/],
    ['a node without a name', { version: '1.0.0', nodes: [{ ...forAll, node: {} }] }, /node codename is missing/],
    ['a label that is no text', { version: '1.0.0', nodes: [{ ...forAll, labels: [{}] }] }, /nodes\[0\].labels\[0\]/],
    ['a priority that is a word', { version: '1.0.0', nodes: [{ ...forAll, priority: 'high' }] }, /priority/],
    [
      'less than nothing of a resource',
      { version: '1.0.0', nodes: [{ ...forAll, resourceRatios: { ram: -1 } }] },
      /resourceRatios.ram/,
    ],
    [
      'a time that is none',
      { version: '1.0.0', nodes: [{ ...forAll, alertRules: { cpu: { minTimeout: 'soon' } } }] },
      /alertRules.cpu.minTimeout/,
    ],
  ])('[CM-93] %s is refused by name, and the configuration in force stays', async (_, document, words) => {
    const unit = await createUnit({ nodes: [] });
    await unit.config.apply({ formatVersion: '1', version: '0.1.0', nodes: [forAll] }, unit.signal);
    const refused = await unit.config.apply(document, unit.signal);
    expect(refused).toMatchObject({ state: 'failed', error: { message: expect.stringMatching(words) } });
    expect(unit.config.status()).toEqual({ version: '0.1.0', state: 'installed' });
    expect(unit.config.nodeConfig('n1', 'generic')).toMatchObject({ version: '0.1.0', labels: ['all'] });
  });

  test('a file that was written is read as the same, durations too', () => {
    const text = JSON.stringify({
      formatVersion: '1',
      version: '1.0.0',
      nodes: [{ ...forAll, alertRules: { cpu: { minTimeout: 'PT90S', minThreshold: 40, maxThreshold: 50 } } }],
    });
    const once = writeUnitConfig(parseUnitConfig(text));
    expect(writeUnitConfig(parseUnitConfig(once))).toBe(once);
    expect(JSON.parse(once).nodes[0].alertRules.cpu.minTimeout).toBe('PT1M30S');
  });

  test('a part that an SM could not take is refused', () => {
    const labels = Array.from({ length: 100 }, (_, index) => `label-${index}-`.padEnd(60, 'x'));
    const document = parseUnitConfig(JSON.stringify({ version: '1.0.0', nodes: [{ ...forAll, labels }] }));
    expect(() => writeNodeConfig(nodeConfigOf(document, 'n1', 'generic'))).toThrow('4096');
  });
});

describe('in the unit', () => {
  const version = (text: string) => ({ formatVersion: '1', version: text, nodes: [forAll] });

  test('[CM-94] [CM-97] a configuration that every node accepts is stored, distributed and reported', async () => {
    const unit = await createUnit();
    expect(unit.config.status()).toEqual({ version: '', state: 'absent' });
    const sm = unit.connect('main');
    await until(() => unit.controller.isConnected('main'));
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toEqual({ version: '1.0.0', state: 'installed' });
    expect(sm.config.version).toBe('1.0.0');
    expect(JSON.parse(sm.config.json)).toMatchObject({ nodeGroupSubject: { codename: 'generic' }, labels: ['all'] });
    expect(JSON.parse(await readFile(join(unit.directory, 'aos_unit.cfg'), 'utf8')).version).toBe('1.0.0');
  });

  test('[CM-94] one node that refuses keeps the former configuration in force', async () => {
    const unit = await createUnit();
    const sm = unit.connect('main');
    await until(() => unit.controller.isConnected('main'));
    sm.refusesConfig = true;
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toEqual({
      version: '1.0.0',
      state: 'failed',
      error: { aosCode: 6, exitCode: 0, message: 'not for me' },
    });
    expect(unit.config.status()).toEqual({ version: '', state: 'absent' });
  });

  test('[CM-94] of two nodes each is asked before anything is stored; when one refuses, neither gets it', async () => {
    const unit = await createUnit({ nodes: [iamNode('n1'), iamNode('n2')] });
    const [willing, unwilling] = [unit.connect('n1'), unit.connect('n2')];
    await until(() => unit.nodes.nodes().every(({ isConnected }) => isConnected));
    const asked = (sm: ScriptedSm, what: string) => sm.received.filter((message) => message.case === what).length;
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toMatchObject({ state: 'installed' });
    const given = [willing, unwilling].map((sm) => asked(sm, 'setNodeConfig'));

    unwilling.refusesConfig = true;
    expect(await unit.config.apply(version('2.0.0'), unit.signal)).toMatchObject({
      ...{ version: '2.0.0', state: 'failed' },
      error: { message: 'not for me' },
    });
    for (const sm of [willing, unwilling]) {
      expect(asked(sm, 'checkNodeConfig')).toBe(2);
      expect(sm.config.version).toBe('1.0.0');
    }
    expect([willing, unwilling].map((sm) => asked(sm, 'setNodeConfig'))).toEqual(given);
    expect(unit.config.status()).toEqual({ version: '1.0.0', state: 'installed' });
    const stored = JSON.parse(await readFile(join(unit.directory, 'aos_unit.cfg'), 'utf8'));
    expect(stored.version).toBe('1.0.0');

    unwilling.refusesConfig = false;
    expect(await unit.config.apply(version('2.0.0'), unit.signal)).toEqual({ version: '2.0.0', state: 'installed' });
    for (const sm of [willing, unwilling]) expect(sm.config.version).toBe('2.0.0');
  });

  test('[CM-93] only a higher version is taken', async () => {
    const unit = await createUnit({ nodes: [] });
    await unit.config.apply(version('1.0.0'), unit.signal);
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toMatchObject({ error: { aosCode: 8 } });
    expect(await unit.config.apply(version('0.9.0'), unit.signal)).toMatchObject({
      error: { aosCode: 9, message: 'wrong version' },
    });
    expect(await unit.config.apply(version('x'), unit.signal)).toMatchObject({ error: { aosCode: 6 } });
    expect(unit.config.status()).toEqual({ version: '1.0.0', state: 'installed' });
  });

  test('[CM-96] a node that connects later gets the configuration in force', async () => {
    const unit = await createUnit();
    await unit.config.apply(version('1.0.0'), unit.signal);
    const sm = unit.connect('main');
    await until(() => sm.config.version === '1.0.0');
  });

  test('[CM-93] a configuration that could not be read again after a restart is refused, and the one in force stays', async () => {
    const unit = await createUnit({ nodes: [] });
    await unit.config.apply(version('1.0.0'), unit.signal);
    const nodes = Array.from({ length: 1000 }, (_, index) => ({
      nodeGroupSubject: { codename: `type-${index}`.padEnd(60, 'x') },
    }));
    const refused = await unit.config.apply({ formatVersion: '1', version: '2.0.0', nodes }, unit.signal);
    expect(refused).toMatchObject({ version: '2.0.0', state: 'failed', error: { aosCode: 3 } });
    await unit.shutDown();
    await unit.boot();
    expect(unit.config.status()).toEqual({ version: '1.0.0', state: 'installed' });
  });

  test('nodes without a service manager do not keep a configuration from being installed', async () => {
    const unit = await createUnit({ nodes: [iamNode('main', { attrs: {} })] });
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toMatchObject({ state: 'installed' });
  });

  test('[CM-97] a file that cannot be read is reported and can be replaced', async () => {
    const unit = await createUnit();
    await unit.shutDown();
    await writeFile(join(unit.directory, 'aos_unit.cfg'), '{');
    await unit.boot();
    expect(unit.config.status()).toMatchObject({ state: 'failed', error: { aosCode: 6 } });
    unit.connect('main');
    await until(() => unit.controller.isConnected('main'));
    expect(await unit.config.apply(version('1.0.0'), unit.signal)).toEqual({ version: '1.0.0', state: 'installed' });
  });
});

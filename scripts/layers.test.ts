import { expect, test } from 'vitest';
import { checkLayers, importsOf } from './layers.ts';

const reasons = (path: string, ...imports: string[]) => checkLayers([{ path, imports }]).map((found) => found.because);

test('imports that go down through a door are allowed', () => {
  expect(reasons('src/cm/launcher/place.ts', '../numbers.ts', '../../daemon/index.ts', '../../core/index.ts')).toEqual(
    [],
  );
  expect(
    reasons('src/sm/main.ts', '../platform/nft/index.ts', '../api/contracts.ts', '../api/gen/a/v1/b_pb.js'),
  ).toEqual([]);
  expect(reasons('src/sm/main.ts', 'node:fs', 'zod')).toEqual([]);
});

test('a program that imports another program is refused', () => {
  expect(reasons('src/cm/main.ts', '../sm/index.ts')).toEqual(['the programs cm and sm never import each other']);
});

test('an import that goes up is refused', () => {
  expect(reasons('src/core/error.ts', '../daemon/index.ts')).toEqual(['core is below daemon; imports go down']);
  expect(reasons('src/daemon/life.ts', '../cm/index.ts')).toEqual(['daemon is below cm; imports go down']);
});

test('an import past the door of a room is refused, except in tests', () => {
  expect(reasons('src/cm/main.ts', '../storage/atomic-file.ts')).toEqual(['storage is entered through its index.ts']);
  expect(reasons('src/cm/main.ts', '../platform/nft/rules.ts')).toEqual([
    'platform/nft is entered through its index.ts',
  ]);
  expect(reasons('src/cm/main.test.ts', '../storage/atomic-file.ts')).toEqual([]);
  expect(reasons('src/oci/a.test.ts', '../storage/certificates-for-tests.ts')).toEqual([]);
  expect(reasons('src/oci/a.ts', '../storage/certificates-for-tests.ts')).toHaveLength(1);
});

test('rooms of one level do not import each other, adapters of the host do', () => {
  expect(reasons('src/oci/index.ts', '../storage/index.ts')).toEqual([
    'oci and storage stand side by side; imports go down',
  ]);
  expect(reasons('src/platform/network/index.ts', '../nft/index.ts')).toEqual([]);
});

test('the product imports nothing from its harnesses, and every file stands in a room', () => {
  expect(reasons('src/cm/main.ts', '../../test/helpers.ts')).toEqual(['a room imports nothing from outside of src']);
  expect(reasons('src/misc/a.ts', './b.ts')[0]).toMatch(/is in no room of the house/);
  expect(reasons('test/e2e/first-unit.test.ts', '../../src/cm/launcher/place.ts')).toEqual([]);
});

const found = (files: Readonly<Record<string, readonly string[]>>) =>
  checkLayers(Object.entries(files).map(([path, imports]) => ({ path, imports }))).map(
    ({ file, because }) => `${file}: ${because}`,
  );

test('folders of a program that import each other in a circle are refused, whatever lies between them', () => {
  const oneWay = {
    'src/cm/main.ts': ['./links/link.ts', './store/items.ts', './words.ts'],
    'src/cm/links/link.ts': ['../store/items.ts', '../words.ts', './session.ts'],
    'src/cm/store/items.ts': ['../words.ts'],
    'src/cm/store/items.test.ts': ['../links/link.ts'],
    'src/sm/store/links.ts': ['../links/store.ts'],
  };
  expect(found(oneWay)).toEqual([]);
  expect(found({ ...oneWay, 'src/cm/store/items.ts': ['../links/link.ts'] }).slice(0, 2)).toEqual([
    'src/cm/links/link.ts: cm/links → cm/store → cm/links is a circle; folders know each other one way',
    'src/cm/store/items.ts: cm/store → cm/links → cm/store is a circle; folders know each other one way',
  ]);
  const between = { 'src/cm/store/items.ts': ['../pages/page.ts'], 'src/cm/pages/page.ts': ['../links/link.ts'] };
  expect(found({ ...oneWay, ...between })[0]).toBe(
    'src/cm/links/link.ts: cm/links → cm/store → cm/pages → cm/links is a circle; folders know each other one way',
  );
});

test('files that import each other in a circle are refused, tests apart', () => {
  const oneWay = {
    'src/core/error.ts': ['./words.ts'],
    'src/core/words.ts': ['./marks.ts'],
    'src/core/marks.ts': [],
    'src/core/marks.test.ts': ['./error.ts', './marks.ts'],
  };
  expect(found(oneWay)).toEqual([]);
  const circle = 'is a circle; files know each other one way';
  expect(found({ ...oneWay, 'src/core/marks.ts': ['./error.ts'] })).toEqual([
    `src/core/error.ts: src/core/error.ts → src/core/words.ts → src/core/marks.ts → src/core/error.ts ${circle}`,
    `src/core/words.ts: src/core/words.ts → src/core/marks.ts → src/core/error.ts → src/core/words.ts ${circle}`,
    `src/core/marks.ts: src/core/marks.ts → src/core/error.ts → src/core/words.ts → src/core/marks.ts ${circle}`,
  ]);
});

test('static, type, side-effect, re-exporting and dynamic imports are all seen', () => {
  const source = [
    "import { a,\n  b } from './one.ts';",
    "import type { C } from './two.ts';",
    "import './three.ts';",
    "export * from './four.ts';",
    "const five = await import('./five.ts');",
    "// it comes from './nowhere.ts'",
  ].join('\n');
  expect(importsOf(source)).toEqual(['./one.ts', './two.ts', './three.ts', './four.ts', './five.ts']);
});

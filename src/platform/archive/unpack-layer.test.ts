/** Unpacking on a real disk. Marks of overlays need root. */
import { mkdtempSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AosError, isAosError } from '../../core/index.ts';
import { gnuLong, paxEntry, type RawEntry, rawTar, sealHeader, sha256 } from './archives-for-tests.ts';
import {
  findLayerDamage,
  type LayerCheck,
  type OverlayMarks,
  type UnpackRequest,
  unpackLayer,
  writeLayerList,
} from './index.ts';

const signal = new AbortController().signal;
let work: string;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-archive-'));
});
afterEach(async () => {
  await rm(work, { recursive: true, force: true });
});

/** Marks as plain files and directories, to be told apart by a test without root. */
const marks: OverlayMarks = {
  whiteOut: async () => {
    const path = join(work, 'white-out');
    await writeFile(path, 'white-out');
    return path;
  },
  opaqueDirectories: async (parent, count) => {
    const made = Array.from({ length: count }, () => mkdtempSync(join(parent, '.opaque-')));
    for (const directory of made) await writeFile(join(directory, '.is-opaque'), '');
    return made;
  },
  fifos: async (paths) => {
    for (const path of paths) await writeFile(path, 'fifo');
  },
};

let count = 0;
async function unpack(tar: Buffer, options: Partial<UnpackRequest> = {}) {
  count += 1;
  const file = join(work, `packed-${count}`);
  const into = join(work, `layer-${count}`);
  await writeFile(file, tar);
  const result = await unpackLayer({ file, digest: sha256(tar), into, marks, signal, ...options });
  return { ...result, into, at: (path: string) => join(into, path) };
}

async function refusal(
  entries: readonly (RawEntry | Buffer)[],
  options: Partial<UnpackRequest> = {},
): Promise<AosError> {
  const error = await unpack(rawTar(entries), options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AosError);
  return error as AosError;
}

test('[SM-07] files, directories, links, modes and times come out as they went in', async () => {
  const { at, sizeBytes } = await unpack(
    rawTar([
      { name: './', type: '5', mode: 0o755 },
      { name: 'dir/', type: '5', mode: 0o750, mtime: 1_600_000_000 },
      { name: 'dir/file', content: 'content', mode: 0o640, mtime: 1_500_000_000 },
      { name: 'dir/link', type: '2', link: '../else/where' },
      { name: 'dir/hard', type: '1', link: 'dir/file' },
      { name: 'implied/parents/empty' },
    ]),
  );
  expect(await readFile(at('dir/file'), 'utf8')).toBe('content');
  expect(sizeBytes).toBe(7);
  expect((await stat(at('dir/file'))).mode & 0o7777).toBe(0o640);
  expect((await stat(at('dir/file'))).mtimeMs).toBe(1_500_000_000_000);
  expect((await stat(at('dir'))).mode & 0o7777).toBe(0o750);
  expect((await stat(at('dir'))).mtimeMs).toBe(1_600_000_000_000);
  expect(await readlink(at('dir/link'))).toBe('../else/where');
  expect((await stat(at('dir/hard'))).ino).toBe((await stat(at('dir/file'))).ino);
  expect((await stat(at('implied/parents/empty'))).size).toBe(0);
});

test('[SM-07] gzip, gzip in several members, zstd and plain archives are told by their first bytes', async () => {
  const tar = rawTar([
    { name: 'big', content: Buffer.alloc(1_000_000, 7) },
    { name: 'small', content: 'x' },
  ]);
  const packed = [
    tar,
    gzipSync(tar),
    Buffer.concat([gzipSync(tar.subarray(0, 700_000)), gzipSync(tar.subarray(700_000))]),
    zstdCompressSync(tar),
  ];
  for (const content of packed) {
    const { at, diffId } = await unpack(content);
    expect(diffId).toBe(sha256(tar));
    expect((await readFile(at('big'))).equals(Buffer.alloc(1_000_000, 7))).toBe(true);
    expect(await readFile(at('small'), 'utf8')).toBe('x');
  }
});

test('[SM-07] long names of pax, of GNU tar and of ustar prefixes are whole', async () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}`;
  const { at } = await unpack(
    rawTar([
      paxEntry({ path: `pax/${long}`, mtime: '1500000000.25' }),
      { name: 'cut', content: 'pax' },
      gnuLong('L', `gnu/${long}`),
      { name: 'cut', content: 'gnu', magic: 'ustar  \0' },
      { name: 'e'.repeat(90), prefix: `ustar/${'d'.repeat(90)}`, content: 'ustar' },
      gnuLong('K', long),
      { name: 'link', type: '2', link: 'cut' },
      paxEntry({ linkpath: `${long}/x` }),
      { name: 'pax-link', type: '2', link: 'cut' },
    ]),
  );
  for (const form of ['pax', 'gnu', 'ustar']) expect(await readFile(at(`${form}/${long}`), 'utf8')).toBe(form);
  expect(await readlink(at('link'))).toBe(long);
  expect(await readlink(at('pax-link'))).toBe(`${long}/x`);
});

test('[SM-07] names that are not UTF-8 keep their bytes', async () => {
  const name = Buffer.from([0x61, 0xe4, 0xff]);
  const { into, tree } = await unpack(
    rawTar([
      { name, content: 'x' },
      { name: 'grün', content: 'y' },
    ]),
  );
  const names = await readdir(into, { encoding: 'buffer' });
  expect(names.map((found) => found.toString('hex')).sort()).toEqual(
    [name.toString('hex'), Buffer.from('grün').toString('hex')].sort(),
  );
  const list = join(work, 'list');
  await writeLayerList(list, tree);
  expect(await findLayerDamage(into, list, { signal, pace: async () => undefined })).toBeUndefined();
});

test('[SM-07] the owner loses set-uid and set-gid, world-writable directories become sticky', async () => {
  const { at } = await unpack(
    rawTar([
      { name: 'suid', mode: 0o6755, content: 'x' },
      { name: 'open/', type: '5', mode: 0o777 },
      { name: 'open/file', mode: 0o666, content: 'x' },
    ]),
  );
  expect((await stat(at('suid'))).mode & 0o7777).toBe(0o755);
  expect((await stat(at('open'))).mode & 0o7777).toBe(0o1777);
  expect((await stat(at('open/file'))).mode & 0o7777).toBe(0o666);
});

test('[SM-07] marks of removal become marks of an overlay, wherever they stand in the layer', async () => {
  const { at, tree } = await unpack(
    rawTar([
      { name: 'etc/.wh.gone' },
      { name: 'etc/.wh.again' },
      { name: 'etc/again', content: 'again' },
      { name: 'opt/new', content: 'new' },
      { name: 'opt/.wh..wh..opq' },
      { name: 'dev-form', type: '3', device: [0, 0] },
      { name: '.wh..wh.plnk/', type: '5' },
    ]),
  );
  expect(await readFile(at('etc/gone'), 'utf8')).toBe('white-out');
  expect(await readFile(at('dev-form'), 'utf8')).toBe('white-out');
  expect(await readFile(at('etc/again'), 'utf8')).toBe('again');
  expect((await readdir(at('opt'))).sort()).toEqual(['.is-opaque', 'new']);
  expect([...tree.opaque]).toEqual(['opt']);
  expect((await readdir(at('.'))).sort()).toEqual(['dev-form', 'etc', 'opt']);
});

test('[SM-07] a later entry takes the place of an earlier one', async () => {
  const { at } = await unpack(
    rawTar([
      { name: 'a', content: 'old' },
      { name: 'a', content: 'new' },
      { name: 'tree/deep/file', content: 'x' },
      { name: 'tree', type: '2', link: 'a' },
      { name: 'link', type: '2', link: 'nowhere' },
      { name: 'link/', type: '5' },
      { name: 'link/in', content: 'in' },
    ]),
  );
  expect(await readFile(at('a'), 'utf8')).toBe('new');
  expect(await readlink(at('tree'))).toBe('a');
  expect(await readFile(at('link/in'), 'utf8')).toBe('in');
});

test('[SM-07] a path may run through a link that stays inside of the layer', async () => {
  const { at } = await unpack(
    rawTar([
      { name: 'lib', type: '2', link: 'usr/lib' },
      { name: 'lib/x/file', content: 'x' },
      { name: 'usr/up', type: '2', link: '../usr/./lib/x' },
      { name: 'usr/up/second', content: 'y' },
    ]),
  );
  expect(await readFile(at('usr/lib/x/file'), 'utf8')).toBe('x');
  expect(await readFile(at('usr/lib/x/second'), 'utf8')).toBe('y');
});

const outside = (tmp: string) => join(tmp, '..', 'outside');

test.each<[string, RegExp, readonly (RawEntry | Buffer)[]]>([
  ['an absolute path', /"\/etc\/passwd".*absolute/, [{ name: '/etc/passwd', content: 'x' }]],
  ['a path that leads out', /"\.\.\/x".*leads out of the layer/, [{ name: '../x', content: 'x' }]],
  ['a hidden path that leads out', /leads out of the layer/, [{ name: 'a/../../x', content: 'x' }]],
  ['an absolute path in pax', /absolute/, [paxEntry({ path: '/etc/x' }), { name: 'x', content: 'x' }]],
  [
    'a path through an absolute link',
    /"evil\/passwd".*symbolic link "evil" out of the layer/,
    [
      { name: 'evil', type: '2', link: '/etc' },
      { name: 'evil/passwd', content: 'x' },
    ],
  ],
  [
    'a path through a relative link out',
    /symbolic link out of the layer/,
    [
      { name: 'evil', type: '2', link: '../..' },
      { name: 'evil/x', content: 'x' },
    ],
  ],
  [
    'a path through links to links',
    /out of the layer/,
    [
      { name: 'a/b/up', type: '2', link: '../..' },
      { name: 'two', type: '2', link: 'a/b/up/..' },
      { name: 'two/x', content: 'x' },
    ],
  ],
  [
    'links in a circle',
    /too many symbolic links/,
    [
      { name: 'a', type: '2', link: 'a' },
      { name: 'a/x', content: '' },
    ],
  ],
  [
    'a path through a file',
    /no directory/,
    [
      { name: 'f', content: 'x' },
      { name: 'f/x', content: 'x' },
    ],
  ],
  ['a hard link to outside', /target of its hard link is absolute/, [{ name: 'h', type: '1', link: '/etc/shadow' }]],
  ['a hard link that leads out', /leads out/, [{ name: 'h', type: '1', link: '../../etc/shadow' }]],
  ['a hard link to nothing', /no file of the layer/, [{ name: 'h', type: '1', link: 'later' }]],
  [
    'a hard link through a link out',
    /out of the layer/,
    [
      { name: 'l', type: '2', link: '/etc' },
      { name: 'h', type: '1', link: 'l/shadow' },
    ],
  ],
  [
    'a hard link to itself',
    /itself/,
    [
      { name: 'h', content: 'x' },
      { name: 'h', type: '1', link: 'h' },
    ],
  ],
  ['a block device', /"disk".*device node \(8:0\)/, [{ name: 'disk', type: '4', device: [8, 0] }]],
  ['a character device', /device node \(1:1\)/, [{ name: 'mem', type: '3', device: [1, 1] }]],
  ['an unknown type', /unknown type "Z"/, [{ name: 'z', type: 'Z' }]],
  ['a sparse file', /sparse/, [{ name: 's', type: 'S', magic: 'ustar  \0' }]],
  ['a file in place of the layer', /layer itself/, [{ name: '.', content: 'x' }]],
  ['a name without end', /longer than 255 bytes/, [paxEntry({ path: 'n'.repeat(256) }), { name: 'x' }]],
  ['something below a mark', /below the mark/, [{ name: '.wh.a/b', content: 'x' }]],
  ['a mark for no name', /hides no name/, [{ name: 'a/.wh.' }]],
  ['a mark for the parent', /hides no name/, [{ name: 'a/.wh...' }]],
  ['a size that is no number', /octal number/, [{ name: 'x', sizeField: '99999999999\0' }]],
  ['a size beyond reason', /beyond all reason/, [{ name: 'x', sizeField: `\x80${'\xff'.repeat(11)}` }]],
  ['a name with a zero byte', /zero byte/, [paxEntry({ path: 'a\0b' }), { name: 'x' }]],
])('[SM-07] [R-06] %s is refused, with the entry and the reason', async (_, message, entries) => {
  const error = await refusal(entries);
  expect(error.message).toMatch(message);
  expect(error.code).toBe('invalidArgument');
  expect((await readdir(work)).filter((name) => !/^(packed|layer)-/.test(name))).toEqual([]);
  await expect(lstat(outside(work))).rejects.toThrow();
});

test('[R-06] an archive that ends too early, or whose header is damaged, is refused', async () => {
  const whole = rawTar([{ name: 'file', content: 'x'.repeat(2000) }]);
  await expect(unpack(whole.subarray(0, 1500))).rejects.toThrow(/ends too early in the middle of "file"/);
  await expect(unpack(whole.subarray(0, 300))).rejects.toThrow(/ends too early/);
  const damaged = Buffer.from(whole);
  damaged[3] = 0x58;
  await expect(unpack(damaged)).rejects.toThrow(/checksum does not fit/);
  const packed = gzipSync(whole);
  await expect(unpack(packed.subarray(0, packed.length - 20))).rejects.toSatisfy((error) =>
    isAosError(error, 'invalidArgument'),
  );
});

test('[X-14] content that is not that of its digest is refused as such, whatever it led to', async () => {
  const meant = sha256(gzipSync(rawTar([{ name: 'good', content: 'good' }])));
  for (const content of [
    gzipSync(rawTar([{ name: 'good', content: 'evil' }])),
    rawTar([{ name: '/absolute', content: 'x' }]),
    Buffer.from('not a tar at all'),
    Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.from('no gzip')]),
  ]) {
    await expect(unpack(content, { digest: meant })).rejects.toSatisfy((error) => isAosError(error, 'invalidChecksum'));
  }
});

test('[R-06] a bomb is stopped while it grows', async () => {
  const limits = { alwaysAllowedBytes: 1024 * 1024, maxRatio: 40 };
  const bomb = gzipSync(rawTar([{ name: 'zeros', content: Buffer.alloc(8 * 1024 * 1024) }]));
  const error = await unpack(bomb, { limits }).catch((thrown: unknown) => thrown);
  expect(String(error)).toMatch(/grows to more than 40 times/);
  const honest = rawTar([{ name: 'zeros', content: Buffer.alloc(2 * 1024 * 1024) }]);
  expect((await unpack(honest, { limits })).sizeBytes).toBe(2 * 1024 * 1024);
  const many = rawTar(Array.from({ length: 20 }, (_, index) => ({ name: `f${index}` })));
  await expect(unpack(many, { limits: { maxEntries: 10 } })).rejects.toThrow(/more than 10 entries/);
});

test('unpacking ends when nobody wants it any more', async () => {
  const abort = new AbortController();
  const tar = rawTar(Array.from({ length: 50 }, (_, index) => ({ name: `f${index}`, content: 'x'.repeat(100_000) })));
  const onBytes = () => abort.abort(new AosError('canceled', 'a newer update came'));
  await expect(unpack(tar, { signal: abort.signal, onBytes })).rejects.toSatisfy((error) =>
    isAosError(error, 'canceled'),
  );
});

test('[SM-08] damage is found: sizes and links at once, contents when they are read', async () => {
  const { into, at, tree } = await unpack(
    rawTar([
      { name: 'file', content: 'content' },
      { name: 'link', type: '2', link: '/proc/uptime' },
      { name: 'dir/', type: '5' },
      { name: '.wh.gone' },
    ]),
  );
  const list = join(work, 'list');
  // The stand-in for a mark is a file.
  await rm(at('gone'));
  tree.nodes.delete('gone');
  await writeLayerList(list, tree);
  const quick: LayerCheck = { signal };
  const thorough: LayerCheck = { signal, pace: async () => undefined };
  expect(await findLayerDamage(into, list, thorough)).toBeUndefined();
  expect(await findLayerDamage(into, list, { signal, entries: 4 })).toBe('its list has 3 entries, expected 4');

  const { atime, mtime } = await stat(at('file'));
  await writeFile(at('file'), 'CONTENT');
  await utimes(at('file'), atime, mtime);
  expect(await findLayerDamage(into, list, quick)).toBeUndefined();
  expect(await findLayerDamage(into, list, thorough)).toBe('the content of file "file" has changed');
  await writeFile(at('file'), 'longer than before');
  expect(await findLayerDamage(into, list, quick)).toMatch(/has 18 bytes, expected 7/);
  await rm(at('file'));
  expect(await findLayerDamage(into, list, quick)).toBe('"file" is missing');
  await mkdir(at('file'));
  expect(await findLayerDamage(into, list, quick)).toBe('"file" is no file any more');
});

const name = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'a/b',
    'b/a',
    'a/b/c',
    './a',
    '..',
    '../a',
    'a/../..',
    '/a',
    '.wh.a',
    'a/.wh..wh..opq',
    'a/',
  ),
  fc.string({ maxLength: 12 }).map((text) => text || 'x'),
);
const entry: fc.Arbitrary<RawEntry> = fc.record({
  name,
  type: fc.constantFrom('0', '0', '1', '2', '2', '3', '4', '5', '5', '6', '7', 'S', 'Z', '\0'),
  link: fc.oneof(name, fc.constantFrom('/', '/etc', '../../..', '.', '')),
  content: fc.string({ maxLength: 600 }),
  mode: fc.integer({ min: 0, max: 0o7777 }),
});

/** Everything in `work` but what the test itself put there. */
async function strangers(): Promise<string[]> {
  return (await readdir(work)).filter((found) => !/^(packed|layer)-\d+$|^white-out$|^\.opaque-/.test(found));
}

test('[R-06] no archive leads out of its layer, and each is unpacked or refused in words', async () => {
  await writeFile(join(work, '..', 'aos-archive-canary'), 'alive');
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
      const error = await unpack(rawTar(entries)).catch((thrown: unknown) => thrown);
      if (error instanceof Error) expect(isAosError(error, 'invalidArgument'), String(error)).toBe(true);
      expect(await strangers()).toEqual([]);
    }),
    { numRuns: 150 },
  );
  expect(await readFile(join(work, '..', 'aos-archive-canary'), 'utf8')).toBe('alive');
  await rm(join(work, '..', 'aos-archive-canary'));
});

test('[R-06] no damage to the bytes of an archive leads out of its layer', async () => {
  const base = rawTar([
    { name: 'dir/', type: '5' },
    paxEntry({ path: 'dir/file', mtime: '1' }),
    { name: 'x', content: 'content' },
    { name: 'dir/link', type: '2', link: 'file' },
    gnuLong('L', 'dir/long'),
    { name: 'y', type: '1', link: 'dir/file' },
  ]);
  const flip = fc.record({ at: fc.nat(base.length - 1), to: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(fc.array(flip, { minLength: 1, maxLength: 6 }), fc.boolean(), async (flips, seal) => {
      const tar = Buffer.from(base);
      for (const { at, to } of flips) {
        tar[at] = to;
        // With a fitting checksum the damage gets deeper.
        if (seal) sealHeader(tar.subarray(at - (at % 512), at - (at % 512) + 512));
      }
      const error = await unpack(tar).catch((thrown: unknown) => thrown);
      if (error instanceof Error) expect(isAosError(error, 'invalidArgument'), String(error)).toBe(true);
      expect(await strangers()).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

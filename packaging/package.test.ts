/** The package as a file: what is in it, and that the same sources make the same bytes. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildPackage } from '../scripts/build-package.ts';

const BUILD_MS = 180_000;
const ROOT = join(import.meta.dirname, '..');

let directory: string;
let first: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'aos-package-'));
  first = await buildPackage(ROOT, join(directory, 'first'));
  execFileSync('dpkg-deb', ['--extract', first, join(directory, 'installed')]);
}, BUILD_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const fileIn = (name: string) =>
  execFileSync('sh', ['-c', `dpkg-deb --fsys-tarfile '${first}' | tar -xO './${name}'`], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });

test(
  '[P-16] built twice, it has the same bytes',
  async () => {
    expect(digest(await buildPackage(ROOT, join(directory, 'second')))).toBe(digest(first));
  },
  BUILD_MS,
);

/** Asks V8 about the code beside a program. */
const IS_TAKEN = `
const { readFileSync } = require('node:fs');
const cachedData = readFileSync('aos-cm.js.cache').subarray(8);
const { cachedDataRejected } = new (require('node:vm').Script)(readFileSync('aos-cm.js', 'latin1'), { cachedData });
console.log(!cachedDataRejected);
`;

test('[B-02] its Node.js takes the code that comes with the programs, and they start', () => {
  const cwd = join(directory, 'installed', 'usr', 'lib', 'aoscore');
  const run = (...words: string[]) => execFileSync(join(cwd, 'node'), words, { cwd, encoding: 'utf8' });
  expect([run('-e', IS_TAKEN), run('aos-cm.mjs', '--version')]).toEqual(['true\n', '0.1.0\n']);
});

test('[P-16] native code that it brings can be loaded by its Node.js', () => {
  const cwd = join(directory, 'installed', 'usr', 'lib', 'aoscore');
  const load = "const c = require('koffi').load(null).func('int getpid()'); console.log(c() === process.pid);";
  const words = ['-e', `require('pkcs11js'); ${load}`];
  expect(execFileSync(join(cwd, 'node'), words, { cwd, encoding: 'utf8' })).toBe('true\n');
});

test('[P-16] its bill of materials names what is bundled, with versions and licences', () => {
  const bill = JSON.parse(fileIn('usr/share/doc/aoscore/sbom.cdx.json')) as {
    readonly bomFormat: string;
    readonly components: readonly {
      readonly name: string;
      readonly version: string;
      readonly purl: string;
      readonly hashes: unknown;
      readonly licenses: unknown;
    }[];
  };
  expect(bill.bomFormat).toBe('CycloneDX');
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const named = bill.components.map(({ purl }) => decodeURIComponent(purl));
  expect(new Set(named).size).toBe(named.length);
  for (const { hashes, licenses } of bill.components)
    expect([hashes, licenses]).toEqual([[expect.anything()], [expect.anything()]]);
  for (const [name, version] of Object.entries(dependencies)) expect(named).toContain(`pkg:npm/${name}@${version}`);
  // Of what is built for each processor, the one that is in the package.
  const built = bill.components.filter(({ name }) => name.startsWith('@koromix/koffi-')).map(({ name }) => name);
  expect(built).toEqual([`@koromix/koffi-linux-${process.arch}`]);
});

test('[P-10] it brings schemas of the files that people write', () => {
  expect(JSON.parse(fileIn('usr/share/doc/aoscore/schemas/cm.schema.json'))).toMatchObject({ type: 'object' });
});

test('[P-15] it brings the manual and the completions of aosctl', () => {
  expect(fileIn('usr/share/man/man1/aosctl.1')).toMatch(/^\.TH AOSCTL 1[\s\S]*\.SS exec /);
  expect(fileIn('usr/share/bash-completion/completions/aosctl')).toContain('complete -o default -F _aosctl aosctl');
  expect(fileIn('usr/share/zsh/vendor-completions/_aosctl')).toMatch(/^#compdef aosctl/);
  expect(fileIn('usr/share/fish/vendor_completions.d/aosctl.fish')).toContain('complete -c aosctl');
});

/** Builds and packages with some of the programs: a node gets what it runs, and nothing else. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildPackage } from '../scripts/build-package.ts';
import { isPackaged, neededPackages, OWNED_FILES, PACKAGED } from '../scripts/package-parts.ts';
import { chosenPrograms, PROGRAMS } from '../scripts/programs.ts';

const BUILD_MS = 180_000;
const ROOT = join(import.meta.dirname, '..');
const PACKAGING = join(ROOT, 'packaging');

const names = (words: readonly string[]) => chosenPrograms(words).map(({ name }) => name);

describe('[X-20] the programs of a build', () => {
  test('are all, or those that are named, with or without "aos-"', () => {
    expect(names([])).toEqual(PROGRAMS.map(({ name }) => name));
    expect(names(['sm', 'aos-iam', 'aosctl'])).toEqual(['aos-iam', 'aos-sm', 'aosctl']);
  });

  test.each(['build.ts', 'build-package.ts'])(
    'are named by %s when one is not known, and nothing is built',
    (script) => {
      const words = ['--experimental-strip-types', join(ROOT, 'scripts', script), 'um'];
      const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
      expect(stderr).toMatch(/"um" is no program: expected aos-iam, aos-cm, aos-sm, aos-mp/);
      expect(status).toBe(1);
    },
  );

  test('bring their own units, hooks and configurations, which are there', () => {
    for (const file of OWNED_FILES) expect(existsSync(join(PACKAGING, file)), file).toBe(true);
    // A service of a daemon that nobody thought of would be in every package.
    for (const path of globSync('systemd/aos-*.service', { cwd: PACKAGING })) {
      const program = /^ExecStart=\/usr\/bin\/(aos-\w+)/m.exec(readFileSync(join(PACKAGING, path), 'utf8'))?.[1];
      if (program === undefined) continue;
      expect(isPackaged(path, chosenPrograms([program])), path).toBe(true);
      expect(
        isPackaged(
          path,
          PACKAGED.filter(({ name }) => name !== program),
        ),
        path,
      ).toBe(false);
    }
  });

  test('need their own packages of Debian', () => {
    const control = 'Depends: libc6, conmon, crun | runc\nRecommends: softhsm2, quota\nSuggests: x\n';
    expect(neededPackages(control, PACKAGED)).toBe(control);
    expect(neededPackages(control, chosenPrograms(['cm', 'iam']))).toBe(
      'Depends: libc6\nRecommends: softhsm2\nSuggests: x\n',
    );
    expect(neededPackages(control, chosenPrograms(['cm']))).toBe('Depends: libc6\nSuggests: x\n');
  });
});

describe('[X-20] a package for a further node', () => {
  let directory: string;
  let files: readonly string[];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'aos-chosen-'));
    const path = await buildPackage(ROOT, directory, chosenPrograms(['iam', 'sm', 'aosctl']));
    execFileSync('dpkg-deb', ['--raw-extract', path, join(directory, 'root')]);
    files = globSync('**', { cwd: join(directory, 'root'), withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(directory, 'root').length));
  }, BUILD_MS);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('has neither program nor unit nor configuration of the others', () => {
    const found = files.map((file) => basename(file));
    for (const name of ['aos-iam.js', 'aos-sm.js', 'aosctl.js', 'aos_sm_app', 'aos-sm.service', 'sm.cfg', 'aosctl.1']) {
      expect(found).toContain(name);
    }
    expect(found.filter((name) => /^aos[-_](cm|mp|dns|cloud)|^(cm|mp.*)\.cfg$|unit-names/.test(name))).toEqual([]);
  });

  test('names its own configurations as such, and stops its own services when it is removed', () => {
    const control = (name: string) => readFileSync(join(directory, 'root', 'DEBIAN', name), 'utf8');
    expect(control('conffiles').split('\n')).toEqual(expect.arrayContaining(['/etc/aos/iam.cfg', '/etc/aos/sm.cfg']));
    expect(control('conffiles')).not.toMatch(/cm\.cfg/);
    expect(control('control')).toMatch(/^Depends: .*conmon, crun \| runc/m);
    expect(control('control')).not.toMatch(/dnsmasq/);
    const units = join(directory, 'root', 'lib', 'systemd', 'system');
    const script = control('prerm')
      .replaceAll('/lib/systemd/system', units)
      .replace('[ -d /run/systemd/system ]', 'true')
      .replaceAll('systemctl', 'echo');
    expect(execFileSync('sh', ['-c', script, 'prerm', 'remove'], { encoding: 'utf8' })).toBe(
      'stop aos.target aos-sm.service aos-iam.service aos-iam-prov.service aos-clock.service aos-disk.service\n',
    );
  });
});

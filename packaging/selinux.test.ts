/** What would stand in the way of a policy of mandatory access control, which belongs to the image (docs/board.md). */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const shipped = globSync(['packaging/{bin,debian,etc,hooks,initramfs,systemd,tmpfiles.d}/**'], {
  cwd: ROOT,
  withFileTypes: true,
})
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));

test('[O-08] no unit, hook or script of the package sets a context, or turns the policy off', () => {
  expect(shipped.length).toBeGreaterThan(20);
  const found = shipped.filter((path) =>
    /SELinuxContext=|setenforce|\bchcon\b|security\.selinux|\/etc\/selinux/.test(read(path)),
  );
  expect(found).toEqual([]);
});

test('[O-08] no daemon sets a label, and layers bring none along', () => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT }).filter((path) => !/\.test\.ts$|\/gen\//.test(path));
  const found = sources.filter((path) => /selinuxLabel|mountLabel|security\.selinux|SCHILY\.xattr/.test(read(path)));
  expect(found).toEqual([]);
});

test('[O-08] each daemon has an entry point of its own, by which a policy can tell it from the others', () => {
  const starts = globSync('packaging/systemd/aos-{cm,sm,iam,mp}*.service', { cwd: ROOT }).map(
    (path) => /^ExecStart=(\S+)/m.exec(read(path))?.[1],
  );
  expect(new Set(starts)).toEqual(new Set(['aos-cm', 'aos-sm', 'aos-iam', 'aos-mp'].map((name) => `/usr/bin/${name}`)));
});

test('[O-08] the page for whoever writes the policy names each unit that forbids new privileges', () => {
  const page = read('docs/board.md');
  const units = globSync('packaging/systemd/*.service', { cwd: ROOT }).filter((path) =>
    /^NoNewPrivileges=yes/m.test(read(path)),
  );
  for (const path of units) expect(page).toContain(`\`${/(aos-(?:cm|mp))/.exec(path)?.[1]}\``);
});

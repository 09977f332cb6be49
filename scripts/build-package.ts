/** `npm run package`: builds the programs, and the Debian package out of `dist/` and `packaging/`; prints its path. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { type BillOptions, billOfMaterials, type LockFile } from './bill-of-materials.ts';
import { buildPrograms } from './build.ts';
import { isPackaged, neededPackages, PACKAGED } from './package-parts.ts';
import { chosenPrograms, type Program } from './programs.ts';
import { writeSchemas } from './schemas.ts';

const run = promisify(execFile);

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Names that units know from the C++ implementation. */
const TWIN_NAMES: Readonly<Record<string, string>> = {
  'aos-cm': 'aos_cm_app',
  'aos-sm': 'aos_sm_app',
  'aos-iam': 'aos_iam_app',
  'aos-mp': 'aos_mp_app',
};

/** Copies a folder of `packaging/`, without what belongs to programs that are left out. */
async function copyPart(root: string, name: string, target: string, programs: readonly Program[]): Promise<void> {
  const packaging = join(root, 'packaging');
  await mkdir(target, { recursive: true });
  await cp(join(packaging, name), target, {
    recursive: true,
    filter: (source) => isPackaged(relative(packaging, source), programs),
  });
}

async function copyPrograms(root: string, target: string, programs: readonly Program[]): Promise<void> {
  const lib = join(target, 'usr', 'lib', 'aoscore');
  const bin = join(target, 'usr', 'bin');
  await mkdir(lib, { recursive: true });
  await mkdir(bin, { recursive: true });
  await cp(join(root, 'packaging', 'bin', 'aoscore'), join(lib, 'aoscore'));
  await chmod(join(lib, 'aoscore'), 0o755);
  for (const name of ['node-flags.txt', 'daemon.env']) await cp(join(root, 'packaging', name), join(lib, name));
  await copyPart(root, 'hooks', join(lib, 'hooks'), programs);
  const boot = join(target, 'usr', 'share', 'initramfs-tools', 'scripts', 'local-bottom');
  await cp(join(root, 'packaging', 'initramfs'), boot, { recursive: true });
  for (const { name } of programs) {
    if (!existsSync(join(root, 'dist', `${name}.mjs`))) throw new Error(`${name} is not built: npm run build`);
    for (const suffix of ['.mjs', '.js', '.js.cache']) {
      await cp(join(root, 'dist', `${name}${suffix}`), join(lib, `${name}${suffix}`));
    }
    for (const link of [name, TWIN_NAMES[name]].filter((entry) => entry !== undefined)) {
      await symlink('../lib/aoscore/aoscore', join(bin, link));
    }
  }
}

/** The manual and the completions of aosctl, made by itself. */
async function copyHelp(root: string, target: string): Promise<void> {
  const places = {
    'man-page': ['usr', 'share', 'man', 'man1', 'aosctl.1'],
    'completion bash': ['usr', 'share', 'bash-completion', 'completions', 'aosctl'],
    'completion zsh': ['usr', 'share', 'zsh', 'vendor-completions', '_aosctl'],
    'completion fish': ['usr', 'share', 'fish', 'vendor_completions.d', 'aosctl.fish'],
  };
  for (const [words, place] of Object.entries(places)) {
    const path = join(target, ...place);
    const { stdout } = await run(process.execPath, [join(root, 'dist', 'aosctl.mjs'), ...words.split(' ')]);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, stdout);
  }
}

/** Native modules, and what of their packages is needed to run them. */
const NATIVE: Readonly<Record<string, readonly string[]>> = {
  pkcs11js: ['package.json', 'index.js', 'LICENSE', 'build/Release/pkcs11.node'],
  koffi: ['package.json', 'LICENSE.txt', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs'],
  [`@koromix/koffi-linux-${process.arch}`]: ['package.json', 'index.js', `linux_${process.arch}/koffi.node`],
};

/** Node.js itself and the native modules. */
async function copyRuntime(root: string, target: string): Promise<void> {
  const lib = join(target, 'usr', 'lib', 'aoscore');
  await cp(join(root, 'node_modules', 'node', 'bin', 'node'), join(lib, 'node'), { dereference: true });
  await run('strip', [join(lib, 'node')]);
  for (const [name, files] of Object.entries(NATIVE)) {
    for (const file of files) {
      const place = join('node_modules', name, file);
      await mkdir(dirname(join(lib, place)), { recursive: true });
      await cp(join(root, place), join(lib, place));
    }
  }
}

async function copyConfiguration(root: string, target: string, programs: readonly Program[]): Promise<void> {
  const copy = (name: string, ...place: string[]) => copyPart(root, name, join(target, ...place), programs);
  await copy('etc', 'etc');
  // What only some nodes need: their owners copy it.
  await copy('examples', 'usr', 'share', 'doc', 'aoscore', 'examples');
  await copy('systemd', 'lib', 'systemd', 'system');
  await copy('tmpfiles.d', 'usr', 'lib', 'tmpfiles.d');
}

interface ControlOptions {
  readonly version: string;
  readonly architecture: string;
  readonly programs: readonly Program[];
}

async function writeControl(
  root: string,
  target: string,
  { version, architecture, programs }: ControlOptions,
): Promise<void> {
  const debian = join(target, 'DEBIAN');
  await mkdir(debian);
  const { stdout } = await run('du', ['-sk', '--apparent-size', target]);
  const control = neededPackages(await readFile(join(root, 'packaging', 'debian', 'control.in'), 'utf8'), programs)
    .replace('@VERSION@', version)
    .replace('@ARCHITECTURE@', architecture)
    .replace('@INSTALLED_SIZE@', stdout.split('\t')[0]!);
  await writeFile(join(debian, 'control'), control);
  for (const script of ['postinst', 'prerm', 'postrm']) {
    await cp(join(root, 'packaging', 'debian', script), join(debian, script));
    await chmod(join(debian, script), 0o755);
  }
  const configuration = await readdir(join(target, 'etc'), { recursive: true, withFileTypes: true });
  const files = configuration
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(target.length))
    .sort();
  await writeFile(join(debian, 'conffiles'), `${files.join('\n')}\n`);
}

/** When the sources were made, in seconds since 1970: `$SOURCE_DATE_EPOCH`, else the last commit. */
async function sourceDate(root: string): Promise<number> {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) return Number(given);
  const { stdout } = await run('git', ['-C', root, 'log', '-1', '--format=%ct']);
  return Number(stdout);
}

/** What others made of what is in the package. */
async function writeBillOfMaterials(root: string, path: string, options: BillOptions): Promise<void> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as LockFile;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(billOfMaterials(lock, options), null, 1)}\n`);
}

/** Builds `<outDirectory>/aoscore_<version>_<architecture>.deb` with programs that are built; answers its path. */
export async function buildPackage(
  root: string,
  outDirectory: string,
  programs: readonly Program[] = PACKAGED,
): Promise<string> {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`no Debian architecture is known for ${process.arch}`);
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const target = await mkdtemp(join(tmpdir(), 'aos-package-'));
  try {
    await chmod(target, 0o755);
    await copyPrograms(root, target, programs);
    await copyRuntime(root, target);
    await copyConfiguration(root, target, programs);
    if (programs.some(({ name }) => name === 'aosctl')) await copyHelp(root, target);
    await writeSchemas(join(target, 'usr', 'share', 'doc', 'aoscore', 'schemas'));
    const epochS = await sourceDate(root);
    await writeBillOfMaterials(root, join(target, 'usr', 'share', 'doc', 'aoscore', 'sbom.cdx.json'), {
      version,
      epochS,
      cpu: process.arch,
    });
    await writeControl(root, target, { version, architecture, programs });
    await mkdir(outDirectory, { recursive: true });
    const path = join(outDirectory, `aoscore_${version}_${architecture}.deb`);
    // Nothing in it is younger than the sources: built again, it has the same bytes.
    const env = { ...process.env, SOURCE_DATE_EPOCH: String(epochS) };
    await run('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z1', '--build', target, path], { env });
    return path;
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  try {
    const programs = chosenPrograms(process.argv.slice(2), PACKAGED);
    await buildPrograms(root, programs);
    console.log(await buildPackage(root, join(root, 'build'), programs));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}

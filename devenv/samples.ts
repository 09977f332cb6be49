/**
 * The sample services: real programs from Debian packages, in images made by umoci, which knows nothing of aoscore.
 * They are built on the spot and kept until a recipe or a program in it changes.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { ItemConfigDocument } from '../src/oci/index.ts';
import { DEBIAN_ROOT, debianEnvironment, debianProgram } from './debian-programs.ts';

const run = promisify(execFile);

export interface Sample {
  readonly id: string;
  readonly version: string;
  readonly title: string;
  /** Items of one owner share a network; those of others are reached where both sides allow it. */
  readonly owner: string;
  /** Directory with an OCI layout. */
  readonly image: string;
  /** File with its item configuration. */
  readonly itemConfig: string;
}

export interface Recipe {
  readonly id: string;
  readonly version: string;
  readonly title: string;
  readonly owner: string;
  /** Programs of the host or of a Debian package; they are copied with the libraries that they need. */
  readonly programs: readonly string[];
  /** Directories of the host that are copied as they are. */
  readonly directories?: readonly string[];
  /** Other files by path. A text that begins with `#!` becomes executable. */
  readonly files: Readonly<Record<string, string>>;
  /** Symbolic links by path. */
  readonly links?: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly exposedPorts: readonly string[];
  readonly itemConfig: ItemConfigDocument;
}

const BUSYBOX = '/bin/busybox';
const BUSYBOX_APPLETS = ['sh', 'cat', 'date', 'echo', 'expr', 'ls', 'sleep', 'true'];
const TAG = 'latest';

const MIB = 1024 * 1024;
const BROKER = 'mosquitto';
const BROKER_PORT = 1883;

const RECIPES: readonly Recipe[] = [
  {
    id: BROKER,
    version: '1.0.0',
    title: 'MQTT broker',
    owner: 'messages',
    programs: ['/usr/sbin/mosquitto'],
    files: {
      'etc/mosquitto.conf': `listener ${BROKER_PORT} 0.0.0.0\nallow_anonymous true\npersistence false\nlog_dest stderr\n`,
    },
    command: ['/usr/sbin/mosquitto', '-c', '/etc/mosquitto.conf'],
    exposedPorts: [`${BROKER_PORT}/tcp`],
    itemConfig: {
      author: 'aoscore samples',
      hostname: BROKER,
      baseLayerIsNodeRootfs: false,
      quotas: { ramLimit: 64 * MIB, pidsLimit: 16 },
    },
  },
  {
    id: 'mosquitto-client',
    version: '1.0.0',
    title: 'MQTT client that tells the time every five seconds',
    owner: 'clocks',
    programs: ['/usr/bin/mosquitto_pub', BUSYBOX],
    files: {
      'usr/bin/tell-time': `#!/bin/sh
while :; do
  now=$(date)
  if mosquitto_pub -h ${BROKER} -p ${BROKER_PORT} -t time -m "$now"; then echo "told: $now"; else echo "${BROKER} was not reached"; fi
  sleep 5
done
`,
    },
    command: ['/usr/bin/tell-time'],
    exposedPorts: [],
    itemConfig: {
      author: 'aoscore samples',
      baseLayerIsNodeRootfs: false,
      quotas: { ramLimit: 32 * MIB, pidsLimit: 16 },
      allowedConnections: { [`${BROKER}/${BROKER_PORT}/tcp`]: {} },
    },
  },
  {
    id: 'counter',
    version: '1.0.0',
    title: 'Counts its starts in its state and its storage',
    owner: 'counters',
    programs: [BUSYBOX],
    files: {
      'usr/bin/count': `#!/bin/sh
count=$(cat /state.dat 2>/dev/null)
count=$(expr "\${count:-0}" + 1)
echo "$count" >/state.dat
echo "start $count at $(date)" >>/storage/starts
echo "started $count times"
while :; do sleep 1000; done
`,
    },
    command: ['/usr/bin/count'],
    exposedPorts: [],
    itemConfig: {
      author: 'aoscore samples',
      baseLayerIsNodeRootfs: false,
      quotas: { ramLimit: 16 * MIB, pidsLimit: 16, stateLimit: 4096, storageLimit: MIB },
    },
  },
];

/** Libraries of a program, the loader among them; none for one that is linked statically. */
async function librariesOf(program: string): Promise<string[]> {
  const env = { ...process.env, ...debianEnvironment() };
  const listed = await run('ldd', [program], { env }).catch((error: Error & { stderr?: string }) => {
    if (error.stderr?.includes('not a dynamic executable')) return { stdout: '' };
    throw error;
  });
  return [...listed.stdout.matchAll(/(?:=> |^\s)(\/\S+) \(0x/gm)].map((match) => match[1]!);
}

/** What comes out of a Debian package has the place in the image that it would have on a host. */
async function install(path: string, root: string): Promise<void> {
  const place = path.startsWith(`${DEBIAN_ROOT}/`) ? path.slice(DEBIAN_ROOT.length) : path;
  const target = join(root, place);
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  await cp(path, target, { dereference: true });
  await chmod(target, 0o755);
}

/** Directories of Python hold much that no program needs to run. */
const isWanted = (path: string) => !/\/(?:__pycache__|test|config-[^/]*|lib2to3|distutils|pydoc_data)$/.test(path);

async function fill(root: string, recipe: Recipe): Promise<void> {
  for (const program of recipe.programs.map(debianProgram)) {
    for (const path of [program, ...(await librariesOf(program))]) await install(path, root);
  }
  if (recipe.programs.includes(BUSYBOX)) {
    for (const applet of BUSYBOX_APPLETS) await symlink('busybox', join(root, dirname(BUSYBOX), applet));
  }
  for (const path of recipe.directories ?? []) {
    await cp(path, join(root, path), { recursive: true, dereference: true, filter: isWanted });
  }
  for (const [path, text] of Object.entries(recipe.files)) {
    const target = join(root, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, text);
    await chmod(target, text.startsWith('#!') ? 0o755 : 0o644);
  }
  for (const [path, text] of Object.entries(recipe.links ?? {})) await symlink(text, join(root, path));
}

/** Changes whenever the image would. */
function fingerprint(recipe: Recipe): string {
  const programs = recipe.programs.map(debianProgram).map((path) => {
    const { mtimeMs, size } = statSync(path);
    return [path, mtimeMs, size];
  });
  return createHash('sha256')
    .update(JSON.stringify([recipe, programs, BUSYBOX_APPLETS]))
    .digest('hex');
}

/** Builds `layout`, with the image as umoci makes it, and `item-config.json` in `directory`. */
export async function buildImage(directory: string, recipe: Recipe): Promise<void> {
  const building = `${directory}.building`;
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { recursive: true });
  const layout = join(building, 'layout');
  const bundle = join(building, 'bundle');
  const image = ['--image', `${layout}:${TAG}`];
  await run('umoci', ['init', '--layout', layout]);
  await run('umoci', ['new', ...image]);
  await run('umoci', ['unpack', ...image, bundle]);
  await fill(join(bundle, 'rootfs'), recipe);
  await run('umoci', ['repack', ...image, bundle]);
  await run('umoci', [
    'config',
    ...image,
    ...recipe.command.flatMap((word) => ['--config.entrypoint', word]),
    ...recipe.exposedPorts.flatMap((port) => ['--config.exposedports', port]),
  ]);
  await run('umoci', ['gc', '--layout', layout]);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await rename(layout, join(directory, 'layout'));
  await writeFile(join(directory, 'item-config.json'), `${JSON.stringify(recipe.itemConfig, null, 2)}\n`);
  await writeFile(join(directory, 'fingerprint'), fingerprint(recipe));
  await rm(building, { recursive: true });
}

async function isBuilt(directory: string, recipe: Recipe): Promise<boolean> {
  const file = join(directory, 'fingerprint');
  return existsSync(file) && (await readFile(file, 'utf8')) === fingerprint(recipe);
}

/** The version of what is built there; undefined when nothing is. What has no file of its version is the first. */
async function builtVersion(directory: string, recipe: Recipe): Promise<string | undefined> {
  if (!existsSync(join(directory, 'fingerprint'))) return undefined;
  const file = join(directory, 'version');
  return existsSync(file) ? await readFile(file, 'utf8') : recipe.version;
}

const raised = (version: string): string => {
  const [major, minor, patch] = version.split('.').map(Number) as [number, number, number];
  return `${major}.${minor}.${patch + 1}`;
};

/**
 * Builds the images that are not there yet, below `directory`. One that is built anew, because a program of the host was
 * updated, gets a version of its own: the one before is published, and cannot change.
 */
export async function buildSamples(directory: string, say: (text: string) => void): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const recipe of RECIPES) {
    const own = join(directory, recipe.id);
    const former = await builtVersion(own, recipe);
    let version = former ?? recipe.version;
    if (!(await isBuilt(own, recipe))) {
      if (former !== undefined) version = raised(former);
      say(`building the image of ${recipe.id} ${version}`);
      await buildImage(own, recipe);
      await writeFile(join(own, 'version'), version);
    }
    const { id, title, owner } = recipe;
    samples.push({ id, version, title, owner, image: join(own, 'layout'), itemConfig: join(own, 'item-config.json') });
  }
  return samples;
}

/**
 * The image of the test machine: Debian with a kernel of its own, and on top of it aoscore from its package.
 *
 * Two steps, each kept under the hash of what it is made from: the base (half a minute, made again when its packages or
 * the files in `guest/` change) and the installation of the package (seconds, made again with each change of aoscore).
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readdir, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { makeInitramfs } from './initramfs.ts';

const run = promisify(execFile);

const SUITE = 'bookworm';
const INITRAMFS = join(import.meta.dirname, 'initramfs.ts');
const GUEST_FILES = join(import.meta.dirname, 'guest');

/** What aoscore's package depends on stands here too, so that its installation needs no package index. */
const PACKAGES = [
  // The machine:
  ...['linux-image-cloud-amd64', 'busybox-static', 'systemd', 'systemd-sysv', 'udev', 'kmod', 'dbus'],
  ...['e2fsprogs', 'util-linux', 'procps', 'psmisc', 'ca-certificates', 'openssl', 'systemd-boot-efi'],
  // The unit:
  ...['crun', 'runc', 'conmon', 'nftables', 'iproute2', 'quota', 'dnsmasq-base'],
  ...['softhsm2', 'opensc', 'libengine-pkcs11-openssl', 'cryptsetup-bin'],
];

/** Documentation and translations: a third of the size, and nobody reads them. */
const LEFT_OUT = [
  '/usr/share/man/*',
  '/usr/share/doc/*',
  '/usr/share/locale/*',
  '/usr/share/info/*',
  '/usr/share/lintian/*',
];

const ENABLED = {
  'multi-user.target.wants': ['machine-network.service'],
  'network-online.target.wants': ['machine-network.service'],
  'sysinit.target.wants': ['machine-agent.service', 'machine-clock.service'],
};

/** Periodic work that would come in the middle of a test, and what makes each boot slower for nothing. */
const MASKED = [
  ...['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer', 'fstrim.timer'],
  ...['systemd-tmpfiles-clean.timer', 'e2scrub_reap.service', 'systemd-pcrphase.service', 'systemd-logind.service'],
  ...['systemd-pcrphase-sysinit.service', 'systemd-update-utmp.service', 'systemd-update-utmp-runlevel.service'],
  ...['sys-kernel-debug.mount', 'sys-kernel-tracing.mount', 'sys-kernel-config.mount', 'sys-fs-fuse-connections.mount'],
  ...['dev-hugepages.mount', 'dev-mqueue.mount', 'getty.target', 'proc-sys-fs-binfmt_misc.automount'],
  ...['systemd-sysusers.service', 'systemd-random-seed.service', 'systemd-user-sessions.service'],
  ...['modprobe@configfs.service', 'modprobe@dm_mod.service', 'modprobe@drm.service', 'modprobe@efi_pstore.service'],
  ...['modprobe@fuse.service', 'modprobe@loop.service', 'systemd-ask-password-console.path'],
  ...['systemd-ask-password-wall.path'],
  // The initial RAM disk loads what the devices of the machine need. Devices that come later are udev's as anywhere.
  ...['systemd-udev-trigger.service', 'kmod-static-nodes.service', 'systemd-tmpfiles-setup-dev.service'],
  // The quotas of the test machine are those of the file system itself, which need no check at boot.
  ...['systemd-quotacheck.service', 'quotaon.service', 'quota.service'],
];

/** Programs of systemd that look for what the machine has not, at each boot and each reload. */
const MASKED_GENERATORS = [
  ...[
    'systemd-gpt-auto-generator',
    'systemd-getty-generator',
    'systemd-cryptsetup-generator',
    'systemd-rc-local-generator',
  ],
  ...['systemd-veritysetup-generator', 'systemd-integritysetup-generator', 'systemd-bless-boot-generator'],
  ...['systemd-hibernate-resume-generator', 'systemd-system-update-generator', 'systemd-run-generator'],
  ...['systemd-debug-generator', 'systemd-sysv-generator', 'systemd-fstab-generator'],
];

/** Other runs may share the cache: what one of them took at its start stays until it must have ended. */
const LONGEST_RUN_MS = 2 * 60 * 60 * 1000;

const ROOT_BYTES = 2 * 1024 ** 3;

/** What a machine boots from. The files are shared: copy the disk before writing to it. */
export interface MachineImage {
  readonly rootDisk: string;
  readonly kernel: string;
  readonly initrd: string;
  /** What makes one EFI program of both (systemd-stub). */
  readonly stub: string;
}

function imageIn(directory: string): MachineImage {
  return {
    rootDisk: join(directory, 'root.img'),
    kernel: join(directory, 'vmlinuz'),
    initrd: join(directory, 'initrd'),
    stub: join(directory, 'stub.efi'),
  };
}

function hashOf(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

function guestFiles(): (string | Buffer)[] {
  return readdirSync(GUEST_FILES, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((path) => join(GUEST_FILES, path))
    .filter((path) => statSync(path).isFile())
    .flatMap((path) => [path.slice(GUEST_FILES.length), readFileSync(path)]);
}

/** Makes `<cache>/<name>` by `make` in a directory of its own, unless it is there. Old ones of its kind go. */
async function cached(
  cache: string,
  kind: string,
  hash: string,
  make: (directory: string) => Promise<void>,
): Promise<string> {
  const directory = join(cache, `${kind}-${hash}`);
  await mkdir(cache, { recursive: true });
  if (!existsSync(directory)) {
    const building = await mkdtemp(join(cache, `building-${kind}-`));
    try {
      await make(building);
      await rename(building, directory).catch((error: unknown) => {
        // Another run has made the same meanwhile.
        if (!existsSync(directory)) throw error;
      });
    } finally {
      await rm(building, { recursive: true, force: true });
    }
  }
  await utimes(directory, new Date(), new Date());
  await forgetOldest(cache, kind, 2);
  return directory;
}

async function forgetOldest(cache: string, kind: string, keep: number): Promise<void> {
  const ages = (await readdir(cache))
    .filter((name) => name.startsWith(`${kind}-`))
    .map((name) => ({ name, usedMs: statSync(join(cache, name)).mtimeMs }))
    .sort((a, b) => b.usedMs - a.usedMs);
  const idle = ages.slice(keep).filter(({ usedMs }) => usedMs < Date.now() - LONGEST_RUN_MS);
  for (const { name } of idle) await rm(join(cache, name), { recursive: true, force: true });
}

/** A bare Debian that can be a unit: what aoscore needs is there, aoscore is not. */
export async function baseImage(cache: string): Promise<MachineImage> {
  const hash = hashOf(readFileSync(import.meta.filename), readFileSync(INITRAMFS), ...guestFiles());
  return imageIn(await cached(cache, 'base', hash, makeBase));
}

async function makeBase(directory: string): Promise<void> {
  const root = join(directory, 'root');
  const bootstrap = [
    '--variant=minbase',
    '--mode=root',
    '--quiet',
    `--include=${PACKAGES.join(',')}`,
    ...LEFT_OUT.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    '--dpkgopt=force-confold',
    '--dpkgopt=force-unsafe-io',
    SUITE,
    root,
  ];
  // The machine has an initial RAM disk of its own; making Debian's would cost ten seconds.
  await run('mmdebstrap', bootstrap, { env: { ...process.env, INITRD: 'No' } });
  await configure(root);
  const boot = await readdir(join(root, 'boot'));
  const { kernel, initrd, stub, rootDisk } = imageIn(directory);
  await cp(join(root, 'boot', boot.find((name) => name.startsWith('vmlinuz-'))!), kernel);
  await writeFile(initrd, makeInitramfs(root));
  await cp(join(root, 'usr', 'lib', 'systemd', 'boot', 'efi', 'linuxx64.efi.stub'), stub);
  await makeFileSystem(rootDisk, ROOT_BYTES, ['-L', 'aos-root', '-d', root]);
  await rm(root, { recursive: true });
}

async function configure(root: string): Promise<void> {
  cpSync(GUEST_FILES, root, { recursive: true });
  const units = join(root, 'etc', 'systemd', 'system');
  for (const [target, names] of Object.entries(ENABLED)) {
    await mkdir(join(units, target), { recursive: true });
    for (const name of names) await symlink(`../${name}`, join(units, target, name));
  }
  for (const name of MASKED) await symlink('/dev/null', join(units, name));
  await symlink('/lib/systemd/system/multi-user.target', join(units, 'default.target'));
  const generators = join(root, 'etc', 'systemd', 'system-generators');
  await mkdir(generators, { recursive: true });
  for (const name of MASKED_GENERATORS) await symlink('/dev/null', join(generators, name));
  await symlink('/usr/share/systemd/tmp.mount', join(units, 'tmp.mount'));
  // Empty: every machine gets its own from the kernel's command line.
  await writeFile(join(root, 'etc', 'machine-id'), '');
  await mkdir(join(root, 'var', 'log', 'journal'), { recursive: true });
  await mkdir(join(root, 'var', 'aos'), { recursive: true });
  await mkdir(join(root, 'work'), { recursive: true });
  await chmod(join(root, 'usr', 'local', 'lib', 'machine', 'agent'), 0o755);
}

/** Makes a sparse file with an ext4 file system of this size in it. */
export async function makeFileSystem(path: string, sizeBytes: number, options: readonly string[]): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
  await run('mkfs.ext4', ['-q', '-F', ...options, path]);
}

/** The base with this Debian package installed in it. */
export async function installedImage(cache: string, packagePath: string): Promise<MachineImage> {
  const base = await baseImage(cache);
  const hash = hashOf(base.rootDisk, readFileSync(packagePath));
  const directory = await cached(cache, 'installed', hash, (building) => install(base, packagePath, building));
  return { ...base, rootDisk: imageIn(directory).rootDisk };
}

/** Everything that is mounted here goes with the mount namespace, also when this is killed half-way. */
const INSTALL = `
mount -o loop "$1" "$2"
mount -t proc proc "$2/proc"
mount -t devtmpfs devtmpfs "$2/dev" 2>/dev/null || mount --bind /dev "$2/dev"
cp "$3" "$2/root/aoscore.deb"
chroot "$2" dpkg --install /root/aoscore.deb
rm "$2/root/aoscore.deb"
`;

async function install(base: MachineImage, packagePath: string, directory: string): Promise<void> {
  const disk = imageIn(directory).rootDisk;
  const mountPoint = join(directory, 'mnt');
  await run('cp', ['--sparse=always', base.rootDisk, disk]);
  await mkdir(mountPoint);
  const inOwnMounts = ['--mount', '--propagation=private', 'sh', '-eu', '-c', INSTALL, 'install'];
  await run('unshare', [...inOwnMounts, disk, mountPoint, packagePath]);
  await rm(mountPoint, { recursive: true });
}

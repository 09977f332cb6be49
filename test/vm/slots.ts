/**
 * The disk of a board whose firmware can be updated: two slots for the boot chain (partitions `boot-a`, `boot-b`, each a
 * FAT with an EFI program of kernel and initial RAM disk), two for what is laid over the root file system (`root-a`,
 * `root-b`, see initramfs.ts). The firmware of a new board finds slot A by itself.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type MachineImage, makeFileSystem } from './image.ts';

const run = promisify(execFile);

const MIB = 1024 ** 2;
const BOOT_MIB = 24;
const ROOT_MIB = 16;
const FIRST_MIB = 1;
const ESP = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';
const LINUX = '0FC63DAF-8483-4772-8E79-3D69D8477DE4';

/** Of both slots of a new board. */
export interface SlotsOptions {
  readonly version: string;
}

/** Where systemd-stub 252 wants its parts: behind its own, and behind each other. */
const SECTIONS = { '.cmdline': '0x30000', '.linux': '0x2000000', '.initrd': '0x3000000' };

/** Content of the file with the version in a root file system. */
export const rootVersion = (version: string) => `VERSION="${version}"\n`;

/** The content of a boot slot: what boots, and its version. `words` is the kernel's command line. */
export async function makeBootSlot(version: string, image: MachineImage, words: readonly string[]): Promise<Buffer> {
  return inScratch(async (directory) => {
    const at = (name: string) => join(directory, name);
    await writeFile(at('cmdline'), words.join(' '));
    await writeFile(at('version'), `VERSION = "${version}"\n`);
    const contents = { '.cmdline': at('cmdline'), '.linux': image.kernel, '.initrd': image.initrd };
    const sections = Object.entries(contents).flatMap(([name, path]) => [
      ...['--add-section', `${name}=${path}`],
      ...['--change-section-vma', `${name}=${SECTIONS[name as keyof typeof SECTIONS]}`],
    ]);
    await run('objcopy', [...sections, image.stub, at('boot.efi')]);
    await writeFile(at('slot'), '');
    await truncate(at('slot'), BOOT_MIB * MIB);
    await run('mkfs.vfat', ['-n', 'BOOT', at('slot')]);
    await run('mmd', ['-i', at('slot'), '::EFI', '::EFI/BOOT', '::aos']);
    await run('mcopy', ['-i', at('slot'), at('boot.efi'), '::EFI/BOOT/bootx64.efi']);
    await run('mcopy', ['-i', at('slot'), at('version'), '::aos/version']);
    return readFile(at('slot'));
  });
}

/** An image for the rootfs runtime: a squashfs with these files, by absolute path. */
export async function makeRootImage(files: Readonly<Record<string, string>>): Promise<Buffer> {
  return inScratch(async (directory) => {
    await putTree(join(directory, 'tree'), files);
    await run('mksquashfs', [join(directory, 'tree'), join(directory, 'image'), '-quiet', '-no-progress', '-all-root']);
    return readFile(join(directory, 'image'));
  });
}

/** Makes the disk as it leaves the factory, with the same version in both slots of each kind. */
export async function makeSlotsDisk(
  path: string,
  { version }: SlotsOptions,
  image: MachineImage,
  words: readonly string[],
): Promise<void> {
  const parts = [
    ...['boot-a', 'boot-b'].map((name) => ({ name, type: ESP, sizeMib: BOOT_MIB })),
    ...['root-a', 'root-b'].map((name) => ({ name, type: LINUX, sizeMib: ROOT_MIB })),
  ];
  const lines = parts.map(({ name, type, sizeMib }) => `size=${sizeMib}MiB, type=${type}, name=${name}`);
  await writeFile(path, '');
  await truncate(path, (2 * FIRST_MIB + 2 * BOOT_MIB + 2 * ROOT_MIB) * MIB);
  await withInput(
    'sfdisk',
    ['--quiet', path],
    `label: gpt\nfirst-lba: ${(FIRST_MIB * MIB) / 512}\n${lines.join('\n')}\n`,
  );
  const boot = await makeBootSlot(version, image, words);
  const root = await inScratch(async (directory) => {
    await putTree(join(directory, 'tree'), { '/etc/aos/version': rootVersion(version) });
    const slot = join(directory, 'slot');
    await makeFileSystem(slot, ROOT_MIB * MIB, ['-d', join(directory, 'tree')]);
    return readFile(slot);
  });
  let startMib = FIRST_MIB;
  for (const { type, sizeMib } of parts) {
    await writeAt(path, startMib * MIB, type === ESP ? boot : root);
    startMib += sizeMib;
  }
}

async function writeAt(path: string, offset: number, content: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(content, 0, content.length, offset);
  } finally {
    await file.close();
  }
}

async function putTree(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content);
  }
}

async function withInput(program: string, words: readonly string[], input: string | Buffer): Promise<void> {
  const done = run(program, words);
  done.child.stdin!.end(input);
  await done;
}

async function inScratch<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'aos-slots-'));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

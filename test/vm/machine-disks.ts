/** The disks of a new machine, as files in its directory. */
import { execFile } from 'node:child_process';
import { mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { makeFileSystem } from './image.ts';
import type { MachineOptions } from './machine.ts';
import { makeSlotsDisk } from './slots.ts';

const run = promisify(execFile);

const DEFAULT_DATA_BYTES = 1024 ** 3;

/** Answers their paths: `/dev/vda` is the root, `/dev/vdb` the data, `/dev/vdc` the blank one or that with slots. */
export async function makeDisks(
  directory: string,
  options: MachineOptions,
  words: readonly string[],
): Promise<readonly string[]> {
  const at = (name: string) => join(directory, name);
  await run('cp', ['--sparse=always', options.image.rootDisk, at('root.img')]);
  await putFiles(at('root.img'), options.files ?? {}, directory);
  const quotas = ['-m', '0', '-O', 'quota,project', '-E', 'quotatype=usrquota:prjquota', '-I', '256'];
  await makeFileSystem(at('data.img'), options.dataBytes ?? DEFAULT_DATA_BYTES, ['-L', 'aos-var', ...quotas]);
  const paths = [at('root.img'), at('data.img')];
  if (options.slots) {
    await makeSlotsDisk(at('slots.img'), options.slots, options.image, words);
    paths.push(at('slots.img'));
  } else if (options.blankDiskBytes !== undefined) {
    await writeFile(at('blank.img'), '');
    await truncate(at('blank.img'), options.blankDiskBytes);
    paths.push(at('blank.img'));
  }
  return paths;
}

/** Copies `$2` into the file system of the image `$1`, mounted at `$3` for this process alone. */
const PUT = 'mount -o loop "$1" "$3" && cp -r "$2/." "$3"';

async function putFiles(
  disk: string,
  files: Readonly<Record<string, string | Buffer>>,
  directory: string,
): Promise<void> {
  if (Object.keys(files).length === 0) return;
  const from = join(directory, 'files');
  const mountPoint = join(directory, 'mnt');
  await mkdir(mountPoint);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(from, path)), { recursive: true });
    await writeFile(join(from, path), content);
  }
  const inOwnMounts = ['--mount', '--propagation=private', 'sh', '-eu', '-c', PUT, 'put'];
  await run('unshare', [...inOwnMounts, disk, from, mountPoint]);
  await rm(mountPoint, { recursive: true });
  await rm(from, { recursive: true });
}

/** A read-only disk with what tests of this checkout need to run in a machine: sources, packages, what was built. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, '..', '..');
const TAKEN = [
  'package.json',
  'tsconfig.json',
  'src',
  'test',
  'devenv',
  'proto',
  'scripts',
  'packaging',
  'dist',
  'node_modules',
];
/** Nine tenths of the packages: the machine has a Node.js of its own, and nobody checks or draws anything there. */
const LEFT_OUT = [
  'node',
  '@biomejs',
  '@bufbuild/buf*',
  '@typescript',
  'typescript',
  'playwright-core',
  '.cache',
  '.vite',
];

/** How the machine finds the disk among the others. */
export const CHECKOUT_SERIAL = 'aos-checkout';

/** Makes the disk: a second, since nothing is compressed. */
export async function makeCheckoutDisk(path: string): Promise<void> {
  const plain = ['-noI', '-noD', '-noF', '-noX', '-no-xattrs', '-quiet', '-no-progress'];
  const without = LEFT_OUT.map((name) => `node_modules/${name}`);
  await run('mksquashfs', [...TAKEN, path, ...plain, '-no-strip', '-wildcards', '-e', ...without], { cwd: ROOT });
}

/** Lays the disk out as a checkout that can be written to, at this path. */
export const mountCheckout = (directory: string): string => `
for block in /sys/block/vd*; do
  [ "$(cat "$block/serial")" != ${CHECKOUT_SERIAL} ] || disk=/dev/\${block##*/}
done
mkdir -p ${directory} /run/checkout /run/checkout-disk
mount -t squashfs -o ro "$disk" /run/checkout-disk
mount -t tmpfs -o size=256m checkout /run/checkout
mkdir /run/checkout/upper /run/checkout/work
mount -t overlay -o lowerdir=/run/checkout-disk,upperdir=/run/checkout/upper,workdir=/run/checkout/work checkout ${directory}
`;

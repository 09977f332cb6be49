/**
 * The initial RAM disk of the test machine: loads what the disk needs, mounts it, and hands over. Debian's own starts a
 * device manager for that, which costs seconds of each boot without hardware virtualisation.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Those of the machine's devices, the quotas of its data, and `loop`, whose device nobody else makes. */
const MODULES = [
  ...['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_net', 'virtio_rng', 'autofs4', 'loop', 'quota_v2'],
];

const DIRECTORY = 0o040755;
const PROGRAM = 0o100755;

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done </modules/order
mode=rw
for word in $(cat /proc/cmdline); do
  case $word in
    ro | rw) mode=$word ;;
  esac
done
tries=0
until [ -b /dev/vda ] && [ -b /dev/vdb ] || [ $tries = 100 ]; do
  tries=$((tries + 1))
  usleep 50000
done
mount -t ext4 -o "$mode" /dev/vda /root || { echo "machine: the root disk cannot be mounted"; poweroff -f; }
# Where a board has its own partition for what the unit owns; its journal is replayed here after a power cut.
mount -t ext4 -o usrquota,prjquota /dev/vdb /root/var/aos || { echo "machine: the data disk cannot be mounted"; poweroff -f; }
rootmnt=/root
export rootmnt
opener=/root/usr/share/initramfs-tools/scripts/local-bottom/aoscore-opendisk
[ ! -x "$opener" ] || "$opener"
for place in dev proc sys; do mount --move "/$place" "/root/$place"; done
exec switch_root /root /sbin/init
`;

/** The files of these modules and of what they depend on, in the order of loading; relative to the modules' directory. */
export function moduleOrder(dependencies: string, modules: readonly string[]): string[] {
  const lines = dependencies.split('\n').filter((line) => line.includes(':'));
  const needs = new Map(
    lines.map((line) => {
      const [file, rest] = line.split(':') as [string, string];
      return [file, rest.trim().split(' ').filter(Boolean)];
    }),
  );
  const order: string[] = [];
  for (const module of modules) {
    const file = [...needs.keys()].find((path) => path.endsWith(`/${module}.ko`));
    // Built into the kernel: nothing to load.
    if (file === undefined) continue;
    // The file of dependencies lists the nearest first.
    for (const path of [...(needs.get(file) ?? []).toReversed(), file]) {
      if (!order.includes(path)) order.push(path);
    }
  }
  return order;
}

/** An archive of the kind that the kernel unpacks ("newc"). */
function archive(
  entries: readonly { readonly name: string; readonly mode: number; readonly content: Buffer }[],
): Buffer {
  const parts: Buffer[] = [];
  const pad = (size: number) => Buffer.alloc((4 - (size % 4)) % 4);
  for (const [index, { name, mode, content }] of [...entries, TRAILER].entries()) {
    const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    parts.push(Buffer.from(header), pad(header.length), content, pad(content.length));
  }
  return Buffer.concat(parts);
}

const NOTHING = Buffer.alloc(0);
const TRAILER = { name: 'TRAILER!!!', mode: 0, content: NOTHING };

/** Makes the RAM disk out of a Debian root that has a kernel's modules and a static busybox. */
export function makeInitramfs(root: string): Buffer {
  const release = readdirSync(join(root, 'usr', 'lib', 'modules'))[0]!;
  const modules = join(root, 'usr', 'lib', 'modules', release);
  const order = moduleOrder(readFileSync(join(modules, 'modules.dep'), 'utf8'), MODULES);
  const flat = (path: string) => path.slice(path.lastIndexOf('/') + 1);
  return archive([
    ...['bin', 'dev', 'proc', 'sys', 'root', 'modules'].map((name) => ({ name, mode: DIRECTORY, content: NOTHING })),
    { name: 'bin/busybox', mode: PROGRAM, content: readFileSync(join(root, 'bin', 'busybox')) },
    { name: 'init', mode: PROGRAM, content: Buffer.from(INIT) },
    { name: 'modules/order', mode: PROGRAM, content: Buffer.from(`${order.map(flat).join('\n')}\n`) },
    ...order.map((path) => ({
      name: `modules/${flat(path)}`,
      mode: PROGRAM,
      content: readFileSync(join(modules, path)),
    })),
  ]);
}

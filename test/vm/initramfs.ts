/**
 * The initial RAM disk of the test machine: loads what the disk needs, mounts it, and hands over. Debian's own starts a
 * device manager for that, which costs seconds of each boot without hardware virtualisation.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Those of the machine's devices, the quotas of its data, `loop`, whose device nobody else makes, and what the slots of a
 * root file system are made of.
 */
const MODULES = [
  ...['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_net', 'virtio_rng', 'autofs4', 'loop', 'quota_v2'],
  ...['squashfs', 'overlay'],
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
case " $(cat /proc/cmdline) " in *" machine.slots "*) . /slots ;; esac
grep -q ' /root ' /proc/mounts || mount -t ext4 -o "$mode" /dev/vda /root || { echo "machine: the root disk cannot be mounted"; poweroff -f; }
# Where a board has its own partition for what the unit owns; its journal is replayed here after a power cut.
grep -q ' /root/var/aos ' /proc/mounts || mount -t ext4 -o usrquota,prjquota /dev/vdb /root/var/aos || { echo "machine: the data disk cannot be mounted"; poweroff -f; }
rootmnt=/root
export rootmnt
opener=/root/usr/share/initramfs-tools/scripts/local-bottom/aoscore-opendisk
[ ! -x "$opener" ] || "$opener"
for place in dev proc sys; do mount --move "/$place" "/root/$place"; done
exec switch_root /root /sbin/init
`;

/**
 * A board with two slots for its root file system, and its side of the rootfs runtime (spec/sm.md 6.2, 6.3): the files by
 * which both sides talk lie on the data partition. A slot holds what is laid over the Debian of the machine. Each step can
 * be repeated, since the power may go after any of them; what decides a boot is one file, replaced at once.
 */
const SLOTS = `
data_options=usrquota,prjquota
talk=/data/workdirs/sm/runtimes/rootfs
own=/data/.slots

device_of() { [ "$1" = a ] && echo /dev/vdc3 || echo /dev/vdc4; }
other_than() { [ "$1" = a ] && echo b || echo a; }
say() { echo "machine: $*" >/dev/kmsg; }

# Replaces the file $1 by the text $2.
put() { echo -n "$2" >"$1.new" && sync && mv "$1.new" "$1" && sync; }

# Lays the image into a slot: $1 slot, $2 full or incremental.
apply() {
  mount -t squashfs -o ro,loop "$talk/image.squashfs" /image || return 1
  mount -t ext4 "$(device_of "$1")" /slot || { umount /image; return 1; }
  rm -rf /slot/*
  if [ "$2" = incremental ]; then
    mount -t ext4 -o ro "$(device_of "$committed")" /before && cp -a /before/. /slot/ && umount /before
  fi && cp -a /image/. /slot/
  result=$?
  umount /slot
  umount /image
  sync
  return $result
}

tries=0
until [ -b /dev/vdc4 ] || [ $tries = 100 ]; do
  tries=$((tries + 1))
  usleep 50000
done
mount -t ext4 -o $data_options /dev/vdb /data
mkdir -p "$own"
committed=$(cat "$own/committed" 2>/dev/null || echo a)
chosen=$committed

if [ -e "$talk/failed" ]; then
  # The trial was bad. The file stays: the other side has not read it yet.
  rm -f "$talk/updated" "$talk/do_update" "$own/trial" "$own/tries"
  sync
elif [ -e "$talk/do_apply" ]; then
  # Without the note of a trial all of it was done before the power went.
  if [ -e "$own/trial" ]; then put "$own/committed" "$(cat "$own/trial")"; fi
  committed=$(cat "$own/committed" 2>/dev/null || echo a)
  chosen=$committed
  rm -f "$own/trial" "$own/tries" "$talk/updated"
  sync
  rm -f "$talk/do_apply"
  sync
elif [ -e "$talk/do_update" ]; then
  trial=$(other_than "$committed")
  rm -f "$own/tries"
  if apply "$trial" "$(cat "$talk/do_update")"; then
    put "$own/trial" "$trial"
    put "$talk/updated" ""
    rm -f "$talk/do_update"
    sync
    chosen=$trial
    say "slot $trial has the new root file system, which is tried now"
  else
    say "the image cannot be laid into slot $trial"
    put "$talk/failed" ""
    rm -f "$talk/do_update"
    sync
  fi
elif [ -e "$talk/updated" ]; then
  # A trial that ended without a verdict, by a power cut or a watchdog.
  count=$(cat "$own/tries" 2>/dev/null || echo 0)
  if [ "$count" -ge 5 ]; then
    say "slot $(cat "$own/trial") was tried often enough"
    put "$talk/failed" ""
    rm -f "$talk/updated" "$own/trial" "$own/tries"
    sync
  else
    put "$own/tries" "$((count + 1))"
    chosen=$(cat "$own/trial")
  fi
fi

mount -t ext4 -o ro /dev/vda /platform
mount -t ext4 -o ro "$(device_of "$chosen")" /slot
mount -t overlay -o "ro,lowerdir=/slot:/platform" root /root
mount --move /data /root/var/aos
say "the root file system is that of slot $chosen"
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

const DIRECTORIES = ['bin', 'dev', 'proc', 'sys', 'root', 'modules', 'data', 'image', 'slot', 'before', 'platform'];
const NOTHING = Buffer.alloc(0);
const TRAILER = { name: 'TRAILER!!!', mode: 0, content: NOTHING };

/** Makes the RAM disk out of a Debian root that has a kernel's modules and a static busybox. */
export function makeInitramfs(root: string): Buffer {
  const release = readdirSync(join(root, 'usr', 'lib', 'modules'))[0]!;
  const modules = join(root, 'usr', 'lib', 'modules', release);
  const order = moduleOrder(readFileSync(join(modules, 'modules.dep'), 'utf8'), MODULES);
  const flat = (path: string) => path.slice(path.lastIndexOf('/') + 1);
  return archive([
    ...DIRECTORIES.map((name) => ({ name, mode: DIRECTORY, content: NOTHING })),
    { name: 'bin/busybox', mode: PROGRAM, content: readFileSync(join(root, 'bin', 'busybox')) },
    { name: 'init', mode: PROGRAM, content: Buffer.from(INIT) },
    { name: 'slots', mode: PROGRAM, content: Buffer.from(SLOTS) },
    { name: 'modules/order', mode: PROGRAM, content: Buffer.from(`${order.map(flat).join('\n')}\n`) },
    ...order.map((path) => ({
      name: `modules/${flat(path)}`,
      mode: PROGRAM,
      content: readFileSync(join(modules, path)),
    })),
  ]);
}

/** The words with which the kernel of a test machine and qemu are started. */
import type { Link } from './network.ts';

export interface KernelWordsOptions {
  readonly machineId: string;
  readonly name: string;
  readonly mode: 'ro' | 'rw';
  readonly hasSlots: boolean;
  /** Device, address with prefix length, gateway. */
  readonly network?: string;
  readonly more: readonly string[];
}

/** The kernel's command line of a machine. */
export function kernelWords({ machineId, name, mode, hasSlots, network, more }: KernelWordsOptions): string[] {
  return [
    'console=ttyS0',
    mode,
    'quiet',
    // A panic ends qemu at once instead of standing still.
    'panic=-1',
    'mitigations=off',
    // Without hardware virtualisation the kernel mistrusts the one clock that costs nothing to read.
    'tsc=reliable',
    'no_timer_check',
    'cryptomgr.notests',
    'audit=0',
    'apparmor=0',
    'net.ifnames=0',
    ...(hasSlots ? ['machine.slots'] : []),
    ...more,
    `systemd.machine_id=${machineId}`,
    `systemd.hostname=${name}`,
    ...(network === undefined ? [] : [`machine.network=${network}`]),
  ];
}

export interface QemuOptions {
  readonly memoryMib: number;
  readonly cpus: number;
  /** Sockets of the disk servers, in the order of the disks. */
  readonly disks: readonly string[];
  /** A file that is one more disk, never written to, with its serial number. */
  readonly readOnlyDisk?: { readonly path: string; readonly serial: string };
  readonly consolePath: string;
  /** Socket for the agent. */
  readonly port: string;
  readonly link?: Link;
  readonly firmware?: { readonly program: string; readonly variables: string };
  /** Absent: the firmware finds what to boot on a disk. */
  readonly boots?: { readonly kernel: string; readonly initrd: string; readonly words: readonly string[] };
}

/**
 * Features of processors that cost time when they are not there: a fifth level of page tables, and checks of each access
 * to the memory of programs.
 */
const PROCESSOR = 'max,la57=off,smap=off,smep=off,pku=off';

export function qemuCommand(options: QemuOptions): string[] {
  const { memoryMib, cpus, disks, readOnlyDisk, consolePath, port, link, firmware, boots } = options;
  return [
    'qemu-system-x86_64',
    ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', PROCESSOR],
    ...['-smp', String(cpus), '-m', String(memoryMib)],
    ...['-display', 'none', '-monitor', 'none', '-no-reboot', '-serial', `file:${consolePath}`],
    ...(firmware ? [firmware.program, firmware.variables] : []).flatMap((path, index) => [
      '-drive',
      `if=pflash,format=raw,unit=${index},readonly=${index === 0 ? 'on' : 'off'},file=${path}`,
    ]),
    ...(boots ? ['-kernel', boots.kernel, '-initrd', boots.initrd, '-append', boots.words.join(' ')] : []),
    // No order of booting for the disks: qemu would sort the firmware's own by it, at each boot.
    ...disks.flatMap((path, index) => [
      '-blockdev',
      `driver=nbd,node-name=disk${index},server.type=unix,server.path=${path}`,
      '-device',
      `virtio-blk-pci,drive=disk${index},write-cache=on`,
    ]),
    ...(readOnlyDisk
      ? [
          ...['-blockdev', `driver=file,node-name=read-only,filename=${readOnlyDisk.path},read-only=on`],
          ...['-device', `virtio-blk-pci,drive=read-only,serial=${readOnlyDisk.serial}`],
        ]
      : []),
    ...(link
      ? [
          ...['-netdev', `tap,id=link,ifname=${link.device},script=no,downscript=no`],
          ...['-device', `virtio-net-pci,netdev=link,mac=${link.mac},romfile=`],
        ]
      : ['-nic', 'none']),
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=agent,path=${port},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=agent,name=org.aos.agent'],
  ];
}

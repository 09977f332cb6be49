/**
 * What firmware has on a disk, as files of one directory: two boot slots with EFI or U-Boot, or a root file system with its
 * initial RAM disk. It can be switched off and on, by this process or after another one was killed on it.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AosError, digestOf, instanceKey, silentLogger } from '../../core/index.ts';
import { EfiMachine } from '../../platform/boot/efi-machine-for-tests.ts';
import { type BootChooser, EfiBootChooser, EfiVariables } from '../../platform/boot/index.ts';
import { UbootMachine } from '../../platform/boot/uboot-machine-for-tests.ts';
import { HostPartition } from '../../platform/partitions/index.ts';
import { FakeUnits } from '../../platform/systemd/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import { bootRecords } from './boot-records.ts';
import { BootRuntime } from './boot-runtime.ts';
import type { FirmwareChange, FirmwareStart } from './firmware-parts.ts';
import type { FirmwareRuntime } from './firmware-runtime.ts';
import { type ComponentOptions, firmware, instantClock, NODE, SERVICE } from './machine-for-tests.ts';
import { HostRootfsFiles } from './rootfs-files.ts';
import { RootfsRuntime } from './rootfs-runtime.ts';

export type DiskKind = 'efi' | 'uboot' | 'rootfs';

const GUIDS = ['11111111-2222-3333-4444-555555555555', 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'] as const;
const MEDIA_TYPES = { efi: 'full.v1+gzip', uboot: 'full.v1+gzip', rootfs: 'full.v1+squashfs' } as const;
const signal = new AbortController().signal;

/** Its file system is a text at its beginning: nothing is mounted for it. */
class FilePartition extends HostPartition {
  override async readText(path: string): Promise<string> {
    const [line = ''] = (await readFile(this.name, 'latin1')).split('\n');
    if (!line.startsWith(`${path}=`)) throw new AosError('notFound', `cannot read ${path} in ${this.name}`);
    return line.slice(path.length + 1);
  }
}

export class FirmwareDisk {
  readonly directory: string;
  readonly kind: DiskKind;

  constructor(directory: string, kind: DiskKind) {
    this.directory = directory;
    this.kind = kind;
  }

  /** Version 1.0.0 runs. */
  static async create(directory: string, kind: DiskKind): Promise<FirmwareDisk> {
    const disk = new FirmwareDisk(directory, kind);
    await mkdir(disk.at('state'));
    await writeFile(disk.at('version'), 'VERSION="1.0.0"\n');
    for (const slot of [0, 1]) await writeFile(disk.at(`slot-${slot}`), firmware('1.0.0'));
    if (kind === 'uboot') await UbootMachine.create(disk.at('uboot'));
    if (kind === 'efi') {
      const efi = await EfiMachine.create(disk.at('efi'));
      for (const [index, guid] of GUIDS.entries()) await efi.addEntry(index, guid);
    }
    await disk.boot();
    return disk;
  }

  at(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Switched off and on: the firmware takes a slot, the initial RAM disk does its part. */
  async boot(): Promise<void> {
    await writeFile(this.at('boot-id'), String(Number(await readOr(this.at('boot-id'), '0')) + 1));
    if (this.kind === 'efi') await (await EfiMachine.create(this.at('efi'))).boot();
    if (this.kind === 'uboot') await new UbootMachine(this.at('uboot')).boot();
    if (this.kind === 'rootfs') await this.#initramfs();
  }

  /** What the service manager does in one boot, as its launcher has it do. */
  async run(wanted: FirmwareStart): Promise<{ readonly last: FirmwareChange | undefined; readonly reboots: boolean }> {
    const runtime = await this.open();
    let last: FirmwareChange | undefined;
    let reboots = false;
    runtime.onChange((change) => {
      last = change;
    });
    runtime.onReboot(() => {
      reboots = true;
    });
    const isKnown = existsSync(this.at('known'));
    await writeFile(this.at('known'), '');
    const adopted = await runtime.adopt(
      isKnown ? [wanted.info] : [],
      new Map([[instanceKey(wanted.info.ident), wanted.item]]),
      signal,
    );
    last ??= adopted.at(-1);
    if (adopted.length === 0) {
      await runtime.start(wanted, signal).catch((error: Error) => {
        last = { ident: wanted.info.ident, state: 'failed', because: error.message };
      });
    }
    await runtime.settled();
    await runtime.close();
    return { last, reboots };
  }

  /** Boots as often as it is wanted; answers what was told last. */
  async untilRest(wanted: FirmwareStart): Promise<FirmwareChange | undefined> {
    for (let boots = 0; boots < 10; boots += 1) {
      await this.boot();
      const { last, reboots } = await this.run(wanted);
      if (!reboots) return last;
    }
    throw new Error('it never rests');
  }

  /** The one that runs; for slots also what the other one holds. A question mark: neither old nor new. */
  async versions(): Promise<string[]> {
    if (this.kind === 'rootfs') return [/"(.*)"/.exec(await readFile(this.at('version'), 'utf8'))![1]!];
    const current = (await this.chooser.state(signal)).current!;
    return Promise.all([current, 1 - current].map((slot) => this.#versionIn(slot)));
  }

  /** Digests of both slots. */
  async digests(): Promise<string[]> {
    return Promise.all([0, 1].map(async (slot) => digestOf(await readFile(this.at(`slot-${slot}`)))));
  }

  /** Digest of the slot that runs; empty for a root file system, which nobody here could write. */
  async runningDigest(): Promise<string> {
    if (this.kind === 'rootfs') return '';
    return digestOf(await readFile(this.at(`slot-${(await this.chooser.state(signal)).current}`)));
  }

  get chooser(): BootChooser {
    if (this.kind === 'uboot') return new UbootMachine(this.at('uboot')).chooser;
    const address = () => Promise.reject(new AosError('notFound', 'there are entries for both slots'));
    return new EfiBootChooser({
      variables: new EfiVariables(this.at('efi')),
      slots: [
        { guid: GUIDS[0], address },
        { guid: GUIDS[1], address },
      ],
      loader: '/EFI/BOOT/bootx64.efi',
      logger: silentLogger,
    });
  }

  async open(): Promise<FirmwareRuntime> {
    const bootId = await readFile(this.at('boot-id'), 'utf8');
    const units = new FakeUnits();
    units.states.set(SERVICE, existsSync(this.at('sick')) ? 'failed' : 'active');
    const common = { node: NODE, units, healthCheckServices: [SERVICE], bootId, clock: instantClock };
    if (this.kind === 'rootfs') {
      const files = new HostRootfsFiles(this.at('state'), this.at('version'), silentLogger);
      return new RootfsRuntime({ ...common, type: 'rootfs', files, logger: silentLogger });
    }
    const slotNames = [this.at('slot-0'), this.at('slot-1')] as const;
    const slot = (name: string) => new FilePartition(name, this.at('mnt'));
    return new BootRuntime({
      ...{ ...common, type: 'boot', slotNames, versionFile: 'aos/version', logger: silentLogger },
      records: bootRecords(this.at('state'), silentLogger),
      find: async () => ({ slots: [slot(slotNames[0]), slot(slotNames[1])], chooser: this.chooser }),
      lookAgain: () => Promise.reject(new AosError('canceled', 'the slots are there')),
    });
  }

  async component(version: string, options: ComponentOptions = {}): Promise<FirmwareStart> {
    const image = options.content ?? (this.kind === 'rootfs' ? Buffer.from(version) : firmware(version));
    const content = this.kind === 'rootfs' ? image : gzipSync(image);
    const digest = options.digest ?? digestOf(content);
    const path = this.at(`image-${version}`);
    await writeFile(path, content);
    const ident = { itemId: 'fw', subjectId: 'fleet', instance: 0, type: 'component', preinstalled: false } as const;
    const info: InstanceInfo = {
      ...{ ident, version, manifestDigest: digest, ownerId: 'oem', runtimeId: 'runtime', uid: 0, gid: 0, priority: 0 },
      ...{ storagePath: '', statePath: '', envVars: [] },
    };
    const mediaType = options.mediaType ?? `application/vnd.aos.image.component.${MEDIA_TYPES[this.kind]}`;
    const layers = [{ mediaType, digest, size: content.length }];
    const item = {
      ...{ itemId: 'fw', type: 'component', version, manifestDigest: digest, layers: [], layerOrderBecause: '' },
      ...{ files: [path], manifest: { schemaVersion: 2, config: { mediaType: '', digest: '', size: 1 }, layers } },
    } as InstalledItem;
    return { info, item };
  }

  async #versionIn(slot: number): Promise<string> {
    const content = await readFile(this.at(`slot-${slot}`));
    const version = /VERSION = "([^"]+)"\n/.exec(content.toString('latin1', 0, 100))?.[1] ?? '?';
    return content.equals(firmware(version)) ? version : '?';
  }

  /** The contract of docs/firmware.md. */
  async #initramfs(): Promise<void> {
    const state = (name: string) => this.at('state', name);
    const names = await readdir(this.at('state'));
    const has = (name: string) => names.includes(name);
    const use = (version: string) => writeFile(this.at('version'), `VERSION="${version}"\n`);
    if (has('updated') && has('failed')) {
      await rename(this.at('old-version'), this.at('version'));
      await rm(state('updated'));
    } else if (has('updated') && has('do_apply')) {
      await rm(state('updated'));
      await rm(state('do_apply'));
    } else if (has('do_update') && !has('updated')) {
      await writeFile(this.at('old-version'), await readFile(this.at('version')));
      await use(await readFile(state('image.squashfs'), 'utf8'));
      await writeFile(state('updated'), '');
      await rm(state('do_update'));
    }
  }
}

async function readOr(path: string, otherwise: string): Promise<string> {
  return existsSync(path) ? readFile(path, 'utf8') : otherwise;
}

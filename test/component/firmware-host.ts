/** What a host has for firmware: two slots in files, a directory that stands for efivarfs, a script in the place of systemd. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { digestOf } from '../../src/core/index.ts';
import { EfiMachine } from '../../src/platform/boot/efi-machine-for-tests.ts';

export const SLOT_BYTES = 2 * 1024 * 1024;
const SERVICE = 'aos-demo.service';
const GUIDS = ['11111111-2222-3333-4444-555555555555', 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'] as const;

export class FirmwareHost {
  readonly directory: string;
  readonly efi: EfiMachine;
  #boots = 0;

  private constructor(directory: string, efi: EfiMachine) {
    this.directory = directory;
    this.efi = efi;
  }

  static async create(): Promise<FirmwareHost> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-firmware-'));
    const at = (name: string) => join(directory, name);
    for (const name of ['bin', 'rootfs']) await mkdir(at(name));
    const host = new FirmwareHost(directory, await EfiMachine.create(at('efi')));
    for (const [index, guid] of GUIDS.entries()) {
      await host.efi.addEntry(index, guid);
      await writeFile(at(`slot-${index}`), await host.fileSystem('1.0.0'));
    }
    await writeFile(at('version'), 'VERSION="1.0.0"\n');
    await writeFile(at('bin/restart-me'), `#!/bin/sh\necho reboot >> ${at('reboots')}\n`);
    await writeFile(
      at('bin/systemctl'),
      `#!/bin/sh\necho LoadState=loaded\necho ActiveState=$(cat ${at('health')} 2>/dev/null || echo active)\n`,
    );
    for (const name of ['restart-me', 'systemctl']) await chmod(at(`bin/${name}`), 0o755);
    await host.boot();
    return host;
  }

  at(name: string): string {
    return join(this.directory, name);
  }

  /** Entries of `sm.cfg`. */
  get config(): { readonly rebootCommand: readonly string[]; readonly runtimes: readonly object[] } {
    const common = { healthCheckServices: [SERVICE], bootIdFile: this.at('boot-id') };
    const partitions = GUIDS.map((partUuid, index) => ({ device: this.at(`slot-${index}`), partUuid }));
    return {
      rebootCommand: [this.at('bin/restart-me')],
      runtimes: [
        {
          ...{ plugin: 'boot', type: 'boot', isComponent: true },
          config: { ...common, partitions, efiVarsDir: this.efi.directory },
        },
        {
          ...{ plugin: 'rootfs', type: 'rootfs', isComponent: true },
          config: { ...common, versionFilePath: this.at('version'), workingDir: this.at('rootfs') },
        },
      ],
    };
  }

  /** Environment of the daemon, in which the script plays systemd. */
  get env(): { readonly PATH: string } {
    return { PATH: `${this.at('bin')}${delimiter}${process.env.PATH}` };
  }

  get wantsReboot(): boolean {
    return existsSync(this.at('reboots'));
  }

  /** What happens before a daemon starts: the firmware chooses a slot, the initial RAM disk does its part. */
  async boot(): Promise<void> {
    this.#boots += 1;
    await writeFile(this.at('boot-id'), `boot ${this.#boots}\n`);
    await rm(this.at('reboots'), { force: true });
    await this.efi.boot();
    await this.#initramfs();
  }

  /** Services are in this state from now on. */
  async setHealth(state: 'active' | 'failed'): Promise<void> {
    await writeFile(this.at('health'), state);
  }

  hash(slot: 0 | 1): string {
    return digestOf(readFileSync(this.at(`slot-${slot}`)));
  }

  /** A file system with a version file, as large as a slot, and other bytes for each version. */
  async fileSystem(version: string): Promise<Buffer> {
    const path = this.at('image');
    const files = this.at('files');
    await mkdir(join(files, 'aos'), { recursive: true });
    await writeFile(join(files, 'aos', 'version'), `VERSION = "${version}"\n`);
    await rm(path, { force: true });
    await writeFile(path, '');
    await truncate(path, SLOT_BYTES);
    const options = ['-q', '-O', '^has_journal,^metadata_csum', '-E', 'root_owner=0:0', '-d', files, path];
    execFileSync('mkfs.ext4', options, { stdio: 'pipe' });
    return readFile(path);
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  /** What the platform's initial RAM disk does with the marks (spec/sm.md 6.2). */
  async #initramfs(): Promise<void> {
    const mark = (name: string) => this.at(`rootfs/${name}`);
    const names = await readdir(this.at('rootfs'));
    const has = (name: string) => names.includes(name);
    const use = (version: string) => writeFile(this.at('version'), `VERSION="${version}"\n`);
    const kept = () => readFile(this.at('kept-root'), 'utf8').catch(() => '1.0.0');
    const image = async () => (await readFile(mark('image.squashfs'), 'utf8')).replace('image of ', '');
    if (has('updated') && has('failed')) {
      await use(await kept());
      await rm(mark('updated'));
    } else if (has('updated') && has('do_apply')) {
      await writeFile(this.at('kept-root'), await image());
      await rm(mark('updated'));
      await rm(mark('do_apply'));
    } else if (has('do_update')) {
      await use(await image());
      await writeFile(mark('updated'), '');
      await rm(mark('do_update'));
    }
  }
}

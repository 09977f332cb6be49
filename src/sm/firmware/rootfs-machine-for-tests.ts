/** A machine whose initial RAM disk replaces the root file system, with a power switch (spec/sm.md 6.2). */
import { AosError, digestOf, silentLogger } from '../../core/index.ts';
import { FakeUnits } from '../../platform/systemd/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import type { Component, ComponentImage } from './firmware-model.ts';
import type { FirmwareChange, FirmwareStart } from './firmware-parts.ts';
import { instantClock, MemoryRecord, NODE, PowerCut, SERVICE } from './machine-for-tests.ts';
import type { Rejected, RootfsFiles } from './rootfs-files.ts';
import { RootfsRuntime } from './rootfs-runtime.ts';
import type { RootfsMark, RootfsPending } from './rootfs-state.ts';

export interface RootfsComponentOptions {
  readonly mediaType?: string;
  readonly digest?: string;
}

export class RootfsMachine implements RootfsFiles {
  readonly installed = new MemoryRecord<Component>((what) => this.#moment(what));
  readonly pending = new MemoryRecord<RootfsPending>((what) => this.#moment(what));
  readonly rejected = new MemoryRecord<Rejected>((what) => this.#moment(what));
  /** Marks with their texts. */
  readonly files = new Map<RootfsMark, string>();
  /** Version in the image, when there is one. */
  image: string | undefined;
  /** What the two partitions hold; the question mark is half of something. */
  readonly roots: [string, string];
  kept: 0 | 1 = 0;
  running: 0 | 1 = 0;
  readonly units = new FakeUnits();
  readonly sick = new Set<string>();
  /** Versions whose images cannot be applied. */
  readonly bad = new Set<string>();
  /** The initial RAM disk sees no marks. */
  isBlind = false;
  readonly changes: FirmwareChange[] = [];
  readonly reboots: string[] = [];
  readonly harm: string[] = [];
  /** Texts of `do_update` that the initial RAM disk saw. */
  readonly kinds: string[] = [];
  moments = 0;
  runtime!: RootfsRuntime;
  #boots = 0;
  #cutAt = Number.POSITIVE_INFINITY;
  #isDead = false;
  #wantsReboot = false;
  #launched = false;

  constructor(version = '1.0.0') {
    this.roots = [version, ''];
  }

  get version(): string {
    return this.roots[this.running];
  }

  component(version: string, options: RootfsComponentOptions = {}): FirmwareStart {
    const { digest = digestOf(version), mediaType = 'application/vnd.aos.image.component.full.v1+squashfs' } = options;
    const ident = { itemId: 'root', subjectId: 'fleet', instance: 0, type: 'component', preinstalled: false } as const;
    const manifestDigest = digestOf(`manifest of ${version}`);
    const info: InstanceInfo = {
      ...{ ident, version, manifestDigest, ownerId: 'oem', runtimeId: 'runtime', uid: 0, gid: 0, priority: 0 },
      ...{ storagePath: '', statePath: '', envVars: [] },
    };
    const layers = [{ mediaType, digest, size: 1 }];
    const item = {
      ...{ itemId: 'root', type: 'component', version, manifestDigest, layers: [], layerOrderBecause: '' },
      files: [version],
      manifest: { schemaVersion: 2, config: { mediaType: '', digest: '', size: 1 }, layers },
    } as InstalledItem;
    return { info, item };
  }

  /** Switches it on: first the initial RAM disk, then the program. */
  async boot(cutAt = Number.POSITIVE_INFINITY): Promise<boolean> {
    this.#boots += 1;
    this.#isDead = false;
    this.#wantsReboot = false;
    this.moments = 0;
    this.#cutAt = cutAt;
    try {
      if (!this.isBlind) this.#initramfs();
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      return false;
    }
    if (this.version === '?' || this.version === '') this.harm.push(`"${this.version}" was booted`);
    this.units.states.set(SERVICE, this.sick.has(this.version) ? 'failed' : 'active');
    this.startRuntime();
    return true;
  }

  startRuntime(): void {
    this.runtime = new RootfsRuntime({
      ...{ type: 'rootfs', node: NODE, files: this, units: this.units, healthCheckServices: [SERVICE] },
      ...{ bootId: `boot ${this.#boots}`, clock: instantClock, logger: silentLogger },
    });
    this.runtime.onChange((change) => {
      if (!this.#isDead) this.changes.push(change);
    });
    this.runtime.onReboot((because) => {
      if (this.#isDead) return;
      this.reboots.push(because);
      this.#wantsReboot = true;
    });
  }

  async launch(wanted?: FirmwareStart): Promise<'power cut' | 'reboot' | 'rest'> {
    const signal = new AbortController().signal;
    try {
      const adopted = await this.runtime.adopt(wanted && this.#launched ? [wanted.info] : [], new Map(), signal);
      this.changes.push(...adopted);
      this.#launched = true;
      if (wanted && adopted.length === 0) await this.runtime.start(wanted, signal).catch((error) => this.#told(error));
      await this.runtime.settled();
    } catch (error) {
      if (!(error instanceof PowerCut || this.#isDead)) throw error;
    }
    if (this.#isDead) {
      // Nothing of this process may be left when the machine is switched on again.
      await this.runtime.settled();
      return 'power cut';
    }
    return this.#wantsReboot ? 'reboot' : 'rest';
  }

  async untilRest(wanted: FirmwareStart, cuts: readonly number[] = []): Promise<void> {
    for (let boots = 0; boots < 20; boots += 1) {
      if ((await this.boot(cuts[boots])) && (await this.launch(wanted)) === 'rest') return;
    }
    throw new Error('it never rests');
  }

  async marks(): Promise<ReadonlySet<RootfsMark>> {
    return new Set(this.files.keys());
  }

  async putMark(mark: RootfsMark, text: string): Promise<void> {
    this.#change('put mark', () => this.files.set(mark, text));
  }

  async removeMark(mark: RootfsMark): Promise<void> {
    if (mark === 'updated') this.harm.push('"updated" was removed, which is not ours');
    this.#change('remove mark', () => this.files.delete(mark));
  }

  async putImage({ path, digest }: ComponentImage): Promise<void> {
    if (digest !== digestOf(path))
      throw new AosError('invalidChecksum', `the image is not that of its digest ${digest}`);
    if (this.files.has('do_update')) this.harm.push('the image was changed while its application was asked for');
    this.#change('image', () => {
      this.image = path;
    });
  }

  async removeImages(): Promise<void> {
    if (this.image === undefined) return;
    this.#change('remove image', () => {
      this.image = undefined;
    });
  }

  async runningVersion(): Promise<string> {
    return this.version;
  }

  /** Each step can be cut and is repeated, as in the real one. */
  #initramfs(): void {
    const other = this.kept === 0 ? 1 : 0;
    this.running = this.kept;
    if (this.files.has('failed') && this.files.has('updated')) {
      this.#change('initramfs', () => this.files.delete('updated'));
    } else if (this.files.has('do_apply') && this.files.has('updated')) {
      this.#change('initramfs', () => {
        this.kept = other;
      });
      this.running = this.kept;
      this.#forget('updated');
      this.#forget('do_apply');
    } else if (this.files.has('updated')) {
      this.#forget('do_update');
      this.running = other;
    } else if (this.files.has('do_update')) {
      this.#apply(other);
    }
    // A cut right after the partition was changed over.
    if (this.files.has('do_apply') && !this.files.has('updated')) this.#forget('do_apply');
  }

  #apply(other: 0 | 1): void {
    this.kinds.push(this.files.get('do_update')!);
    if (this.image === undefined) this.harm.push('there is no image to apply');
    this.#change('initramfs', () => {
      this.roots[other] = '?';
    });
    if (this.bad.has(this.image ?? '')) {
      this.#change('initramfs', () => this.files.set('failed', ''));
      this.#forget('do_update');
      return;
    }
    this.#change('initramfs', () => {
      this.roots[other] = this.image!;
    });
    this.#change('initramfs', () => this.files.set('updated', ''));
    this.#forget('do_update');
    this.running = other;
  }

  #forget(mark: RootfsMark): void {
    if (this.files.has(mark)) this.#change('initramfs', () => this.files.delete(mark));
  }

  #told(error: unknown): void {
    if (this.#isDead) throw new PowerCut();
    this.changes.push({ ident: this.component('0').info.ident, state: 'failed', because: (error as Error).message });
  }

  #change(what: string, change: () => void): void {
    this.#moment(`before ${what}`);
    change();
    this.#moment(`after ${what}`);
  }

  #moment(what: string): void {
    if (this.#isDead) throw new PowerCut(what);
    this.moments += 1;
    if (this.moments < this.#cutAt) return;
    this.#isDead = true;
    throw new PowerCut(what);
  }
}

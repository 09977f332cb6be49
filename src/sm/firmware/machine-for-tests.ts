/** A machine with two boot slots and a power switch: what the runtime `boot` sees, from one boot to the next. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AosError, type Clock, digestOf, instanceKey, silentLogger } from '../../core/index.ts';
import { FakeBootChooser, type SlotIndex } from '../../platform/boot/index.ts';
import { FakePartition } from '../../platform/partitions/index.ts';
import { FakeUnits } from '../../platform/systemd/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../model.ts';
import { BootRuntime } from './boot-runtime.ts';
import type { FirmwareChange, FirmwareStart } from './firmware-parts.ts';
import type { RecordFile } from './record-file.ts';

export const SLOT_BYTES = 64 * 1024;
export const SERVICE = 'aos-sm.service';
export const NODE: NodeInfo = {
  nodeId: 'node',
  nodeType: 'main',
  title: '',
  maxDmips: 1000,
  totalRam: 1e9,
  os: { os: 'linux', version: '', features: [] },
  cpus: [{ numCores: 1, numThreads: 1, arch: { architecture: 'amd64', variant: '' } }],
  partitions: [],
};

/** Content of a slot with firmware of a version. */
export function firmware(version: string, bytes = SLOT_BYTES): Buffer {
  const content = Buffer.alloc(bytes, version);
  content.write(`aos/version=VERSION = "${version}"\n\0`);
  return content;
}

/** Time passes when somebody waits. */
export const instantClock: Clock = {
  monotonicMs: () => 0,
  now: () => new Date(0),
  sleep: async (_, signal) => {
    if (signal.aborted) throw new AosError('canceled', 'stopped while waiting');
  },
};

export interface ComponentOptions {
  readonly content?: Buffer;
  readonly packed?: Buffer;
  readonly digest?: string;
  readonly mediaType?: string;
  readonly itemId?: string;
}

export class PowerCut extends Error {}

export class MemoryRecord<T> implements RecordFile<T> {
  value: T | undefined;
  /** What reading fails with. */
  unreadable: AosError | undefined;
  readonly #around: (what: string) => void;

  constructor(around: (what: string) => void) {
    this.#around = around;
  }

  async read(): Promise<T | undefined> {
    if (this.unreadable) throw this.unreadable;
    return this.value;
  }

  async write(value: T): Promise<void> {
    this.#change(JSON.parse(JSON.stringify(value)) as T);
  }

  async remove(): Promise<void> {
    this.#change(undefined);
  }

  #change(value: T | undefined): void {
    this.#around('before record');
    this.value = value;
    this.#around('after record');
  }
}

export class Machine {
  readonly directory = mkdtempSync(join(tmpdir(), 'aos-machine-'));
  readonly slots: readonly [FakePartition, FakePartition];
  readonly chooser = new FakeBootChooser((what) => this.#moment(what));
  readonly records = {
    installed: new MemoryRecord<never>((what) => this.#moment(what)),
    pending: new MemoryRecord<never>((what) => this.#moment(what)),
  };
  readonly units = new FakeUnits();
  /** Versions on which the services do not come up. */
  readonly sick = new Set<string>();
  /** Versions that do not come up at all. */
  readonly dead = new Set<string>();
  readonly changes: FirmwareChange[] = [];
  /** What stood on the node each time that this was told to have changed, as `version state`. */
  readonly standings: string[] = [];
  /** Why the node was to be rebooted. */
  readonly reboots: string[] = [];
  /** Why the slots are not found; undefined: they are. */
  missing: AosError | undefined;
  /** Looks for the slots that wait for their time. */
  readonly looks: (() => void)[] = [];
  /** Moments at which the power could have been cut. */
  moments = 0;
  /** Writes into the slot that ran, and boots of something that is no firmware. */
  readonly harm: string[] = [];
  runtime!: BootRuntime;
  #boots = 0;
  #cutAt = Number.POSITIVE_INFINITY;
  #isDead = false;
  #wantsReboot = false;
  #launched = false;

  constructor(version = '1.0.0') {
    const slot = (index: SlotIndex) =>
      new FakePartition(`slot ${index}`, firmware(version), (effect) => {
        this.#moment(effect);
        if (this.chooser.current === index) this.harm.push(`slot ${index} was written while it ran`);
      });
    this.slots = [slot(0), slot(1)];
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  get running(): string {
    return this.versionIn(this.chooser.current!);
  }

  /** Version of a complete slot; a question mark for anything else. */
  versionIn(slot: SlotIndex): string {
    const { content } = this.slots[slot];
    const version = /^aos\/version=VERSION = "([^"]+)"\n/.exec(content.toString('latin1', 0, 100))?.[1] ?? '?';
    return content.equals(firmware(version)) ? version : '?';
  }

  component(version: string, options: ComponentOptions = {}): FirmwareStart {
    const packed = options.packed ?? gzipSync(options.content ?? firmware(version));
    const path = join(this.directory, version);
    writeFileSync(path, packed);
    const { itemId = 'fw', digest = digestOf(packed) } = options;
    const mediaType = options.mediaType ?? 'application/vnd.aos.image.component.full.v1+gzip';
    const ident = { itemId, subjectId: 'fleet', instance: 0, type: 'component', preinstalled: false } as const;
    const manifestDigest = digestOf(`manifest of ${version} ${digest}`);
    const info: InstanceInfo = {
      ...{ ident, version, manifestDigest, ownerId: 'oem', runtimeId: 'runtime', uid: 0, gid: 0, priority: 0 },
      ...{ storagePath: '', statePath: '', envVars: [] },
    };
    const item = {
      ...{ itemId, type: 'component', version, manifestDigest, layers: [], layerOrderBecause: '' },
      files: [path],
      manifest: {
        schemaVersion: 2,
        config: { mediaType: '', digest: '', size: 1 },
        layers: [{ mediaType, digest, size: 1 }],
      },
    } as InstalledItem;
    return { info, item };
  }

  /** Switches it on; the power goes at the given moment of this boot. */
  async boot(cutAt = Number.POSITIVE_INFINITY): Promise<void> {
    this.#boots += 1;
    this.#isDead = false;
    this.#wantsReboot = false;
    this.moments = 0;
    this.#cutAt = cutAt;
    this.chooser.boot((slot) => !this.dead.has(this.versionIn(slot)));
    if (this.running === '?') this.harm.push(`slot ${this.chooser.current} was booted half written`);
    this.units.states.set(SERVICE, this.sick.has(this.running) ? 'failed' : 'active');
    this.startRuntime();
  }

  /** The program alone starts again. */
  startRuntime(): void {
    this.runtime = new BootRuntime({
      ...{ type: 'boot', node: NODE, slotNames: ['A', 'B'], records: this.records },
      find: async () => this.#find(),
      lookAgain: (tries, signal) => this.#wait(tries, signal),
      ...{ versionFile: 'aos/version', units: this.units, healthCheckServices: [SERVICE] },
      ...{ bootId: `boot ${this.#boots}`, clock: instantClock, logger: silentLogger },
    });
    this.runtime.onChange((change) => {
      if (!this.#isDead) this.changes.push(change);
    });
    this.runtime.onStanding(() => {
      this.standings.push(...this.runtime.standing().map(({ info, state }) => `${info.version} ${state}`));
    });
    this.runtime.onReboot((because) => {
      if (this.#isDead) return;
      this.reboots.push(because);
      this.#wantsReboot = true;
    });
  }

  /** As the launcher does: takes over what is there, and starts what is wanted and was not. */
  async launch(wanted?: FirmwareStart): Promise<'power cut' | 'reboot' | 'rest'> {
    const signal = new AbortController().signal;
    try {
      const known = wanted && this.#launched ? [wanted.info] : [];
      const items = new Map(wanted && [[instanceKey(wanted.info.ident), wanted.item]]);
      const adopted = await this.runtime.adopt(known, items, signal);
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

  /** Boots it as often as it wants, or as its power is cut; one boot for each cut. */
  async untilRest(wanted: FirmwareStart, cuts: readonly number[] = []): Promise<void> {
    for (let boots = 0; boots < 20; boots += 1) {
      await this.boot(cuts[boots]);
      if ((await this.launch(wanted)) === 'rest') return;
    }
    throw new Error('it never rests');
  }

  #find(): Machine {
    if (this.missing) throw this.missing;
    return this;
  }

  async #wait(_tries: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => reject(new AosError('canceled', 'stopped while waiting')), { once: true });
    this.looks.push(resolve);
    await promise;
  }

  #told(error: unknown): void {
    if (this.#isDead) throw new PowerCut();
    const { message } = error as Error;
    this.changes.push({ ident: this.component('0').info.ident, state: 'failed', because: message });
  }

  #moment(what: string): void {
    if (this.#isDead) throw new PowerCut(what);
    this.moments += 1;
    if (this.moments < this.#cutAt) return;
    this.#isDead = true;
    throw new PowerCut(what);
  }
}

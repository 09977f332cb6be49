/** Instances and a host for tests of the launcher: containers live on when the launcher is killed. */
import { DatabaseSync } from 'node:sqlite';
import {
  AosError,
  type Clock,
  type ItemIdent,
  instanceId,
  instanceKey,
  silentLogger,
  systemClock,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, InstanceStatus } from '../model.ts';
import { INSTANCE_TABLES, InstanceRows } from './instance-rows.ts';
import { Launcher, type LauncherOptions } from './launcher.ts';
import type { AdoptedInstance, Images, InstanceChange, Networks, Permissions, Runtime } from './parts.ts';

export const RUNTIME_ID = 'runtime-1';

export function anInstance(itemId: string, change: Partial<InstanceInfo> = {}): InstanceInfo {
  return {
    ident: { itemId, subjectId: 'subject', instance: 0, type: 'service', preinstalled: false },
    version: '1.0.0',
    manifestDigest: `sha256:${itemId}`,
    ownerId: 'owner',
    runtimeId: RUNTIME_ID,
    uid: 5000,
    gid: 5000,
    priority: 0,
    storagePath: '',
    statePath: '',
    envVars: [],
    ...change,
  };
}

export function anItem(itemId: string, change: Partial<InstalledItem> = {}): InstalledItem {
  const config = { mediaType: 'json', digest: 'sha256:config', size: 1 };
  return {
    itemId,
    type: 'service',
    version: '1.0.0',
    manifestDigest: `sha256:${itemId}`,
    manifest: { schemaVersion: 2, config, layers: [] } as InstalledItem['manifest'],
    layers: [],
    layerOrderBecause: 'test',
    files: [],
    ...change,
  };
}

/** Dies at the n-th passage: from then on nothing that this launcher does has an effect, or an end. */
export class Mortal {
  readonly died: Promise<void>;
  passages = 0;
  #die!: () => void;
  readonly #at: number;

  constructor(at = Number.POSITIVE_INFINITY) {
    this.#at = at;
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  get isDead(): boolean {
    return this.passages >= this.#at;
  }

  pass(): void {
    if (!this.isDead) this.passages += 1;
    if (!this.isDead) return;
    this.#die();
    throw new Error('killed');
  }

  /** Does something, with a moment to die before it and after it. */
  async act<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      this.pass();
      const result = await work();
      this.pass();
      return result;
    } catch (error) {
      if (this.isDead) return new Promise<T>(() => undefined);
      throw error;
    }
  }
}

class MortalRows extends InstanceRows {
  readonly #mortal: Mortal;

  constructor(database: DatabaseSync, mortal: Mortal) {
    super(database);
    this.#mortal = mortal;
  }

  override intend(...args: Parameters<InstanceRows['intend']>): void {
    this.#around(() => super.intend(...args));
  }

  override launching(...args: Parameters<InstanceRows['launching']>): void {
    this.#around(() => super.launching(...args));
  }

  override gone(...args: Parameters<InstanceRows['gone']>): void {
    this.#around(() => super.gone(...args));
  }

  #around(work: () => void): void {
    this.#mortal.pass();
    work();
    this.#mortal.pass();
  }
}

/** What outlives a launcher: the database and the containers. */
export class Host {
  readonly database = new DatabaseSync(':memory:');
  readonly containers = new Map<string, InstanceInfo>();
  /** Every start and stop, in order: `start item 1.0.0`. */
  readonly log: string[] = [];
  /** Names of items whose start, stop or installation fails, with the error. */
  readonly failing = new Map<string, AosError>();
  readonly items = new Map<string, InstalledItem>();
  clock: Clock = systemClock;
  /** Reasons of each reboot. */
  readonly reboots: (readonly string[])[] = [];
  /** Items on the disk, by `item version`. */
  readonly installed = new Map<string, ItemIdent>();
  readonly removedItems: string[] = [];
  readonly released: string[] = [];
  /** Ids of instances whose networks were taken down. */
  readonly networksStopped: string[] = [];
  /** Ids of instances that the runtime was told to forget. */
  readonly forgotten: string[] = [];
  readonly secrets = new Map<string, string>();
  /** Resolves when the installation of an item may end. */
  gate: Promise<void> = Promise.resolve();
  #listeners: ((change: InstanceChange) => void)[] = [];

  constructor() {
    this.database.exec(INSTANCE_TABLES);
  }

  launcher(mortal = new Mortal()): Launcher {
    return new Launcher(this.parts(mortal));
  }

  /** What a launcher is made of. */
  parts(mortal = new Mortal()): LauncherOptions {
    this.#listeners = [];
    return {
      rows: new MortalRows(this.database, mortal),
      runtimes: [this.#runtime(mortal)],
      images: this.#images(mortal),
      networks: this.#networks(mortal),
      permissions: this.#permissions(mortal),
      clock: this.clock,
      reboot: async (reasons) => {
        this.log.push('reboot');
        this.reboots.push(reasons);
      },
      logger: silentLogger,
    };
  }

  rows(): InstanceRows {
    return new InstanceRows(this.database);
  }

  /** What runs, as `item version`. */
  running(): string[] {
    return [...this.containers.values()].map(({ ident, version }) => `${ident.itemId} ${version}`).sort();
  }

  /** The runtime tells that the state of an instance changed. */
  tell(change: InstanceChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #check(what: string, { ident }: Pick<InstanceInfo, 'ident'>): void {
    const error = this.failing.get(`${what} ${ident.itemId}`);
    if (error) throw error;
  }

  #runtime(mortal: Mortal): Runtime {
    return {
      runtimeId: RUNTIME_ID,
      type: 'fake',
      adopt: (known) =>
        mortal.act(() => {
          const byId = new Map(known.map((info) => [instanceId(info.ident), info]));
          const adopted: AdoptedInstance[] = [];
          for (const [id, actual] of this.containers) {
            const info = byId.get(id);
            if (!info) throw new Error(`a container of ${actual.ident.itemId} runs that no row knows`);
            if (info.version !== actual.version) throw new Error('a container runs otherwise than its row says');
            adopted.push({ ident: info.ident, state: 'active', because: 'adopted' });
          }
          return adopted;
        }),
      start: ({ info, secret }) =>
        mortal.act(() => {
          this.#check('start', info);
          const id = instanceId(info.ident);
          if (this.containers.has(id)) throw new AosError('alreadyExist', 'it runs already');
          this.containers.set(id, info);
          if (secret !== undefined) this.secrets.set(instanceKey(info.ident), secret);
          this.log.push(`start ${info.ident.itemId} ${info.version}`);
        }),
      stop: (id) =>
        mortal.act(() => {
          const info = this.containers.get(id);
          if (!info) throw new AosError('notFound', 'nothing of it is there');
          this.#check('stop', info);
          this.containers.delete(id);
          this.#check('remove', info);
          this.log.push(`stop ${info.ident.itemId} ${info.version}`);
        }),
      holds: (id) => this.containers.has(id),
      forget: (id) => void this.forgotten.push(id),
      onChange: (listener) => {
        this.#listeners.push(listener);
        return () => undefined;
      },
    };
  }

  #images(mortal: Mortal): Images {
    return {
      install: (item) =>
        mortal.act(async () => {
          await this.gate;
          const error = this.failing.get(`install ${item.itemId}`);
          if (error) throw error;
          this.installed.set(`${item.itemId} ${item.version}`, item);
          return { ...anItem(item.itemId), ...this.items.get(item.itemId), ...item };
        }),
      installed: () => [...this.installed.values()],
      remove: (itemId, version) =>
        mortal.act(() => {
          this.installed.delete(`${itemId} ${version}`);
          this.removedItems.push(`${itemId} ${version}`);
        }),
    };
  }

  #networks(mortal: Mortal): Networks {
    return {
      adopt: () => mortal.act(() => undefined),
      start: (requests) =>
        mortal.act(
          () =>
            new Map(
              requests.map(({ info }) => [
                instanceId(info.ident),
                this.failing.get(`network ${info.ident.itemId}`) ?? { hosts: [], dnsServers: [], hostname: 'test' },
              ]),
            ),
        ),
      stop: (ids) => mortal.act(() => void this.networksStopped.push(...ids)),
      release: (idents) =>
        mortal.act(() => {
          for (const ident of idents) {
            this.#check('release', { ident });
            this.released.push(ident.itemId);
          }
        }),
    };
  }

  #permissions(mortal: Mortal): Permissions {
    return {
      register: (ident) => mortal.act(() => `secret of ${ident.itemId}`),
      unregister: (ident) => mortal.act(() => void this.secrets.delete(instanceKey(ident))),
    };
  }
}

const { signal } = new AbortController();

/** A request of the CM, as an SM carries it out. */
export const update = (launcher: Launcher, start: readonly InstanceInfo[], stop: readonly InstanceInfo[] = []) =>
  launcher.update({ start, stop: stop.map(({ ident }) => ident) }, signal);

/** Of instances, by their item. */
export const states = (statuses: readonly InstanceStatus[]) =>
  Object.fromEntries(statuses.map(({ ident, state }) => [ident.itemId, state]));

/** The launcher of a host, when its first launch is over. */
export async function started(host: Host): Promise<Launcher> {
  const launcher = host.launcher();
  launcher.start();
  await launcher.settled(5000, signal);
  return launcher;
}

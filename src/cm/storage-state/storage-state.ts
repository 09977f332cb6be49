/** Storages and states of instances on the main node, and the cloud's part in states (spec/cm.md 5). */
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AosError,
  asAosError,
  type Clock,
  type InstanceIdent,
  instanceKey,
  instanceName,
  type Logger,
  systemClock,
} from '../../core/index.ts';
import { type DiskQuota, systemDiskQuota } from '../../platform/quota/index.ts';
import { instanceMembers, type StateAcceptance, type UnitMessage, type UpdateState } from '../../protocol/index.ts';
import { ensureDirectory } from '../../storage/index.ts';
import { STATE } from '../numbers.ts';
import {
  ensureOwnedDirectory,
  ensureStateFile,
  isDirectoryName,
  type Owner,
  relativePath,
  removeDirectory,
  STATE_FILE,
} from './directories.ts';
import {
  beginWrite,
  dropWrite,
  finishWrite,
  isStateChecksum,
  readState,
  type StateContent,
  stateChecksumOf,
  tooLarge,
  unfinishedWrite,
} from './state-file.ts';
import type { StateRow, StateStore } from './state-store.ts';
import { StateWatch } from './state-watch.ts';

export interface StorageStateOptions {
  readonly store: StateStore;
  /** `storageDir`. */
  readonly storageDir: string;
  /** `stateDir`. */
  readonly stateDir: string;
  /** To the cloud; `replaces`: an older message with this key that still waits is dropped. */
  readonly send: (message: UnitMessage, options: { readonly durable: boolean; readonly replaces: string }) => void;
  /** `storage.quota`: `auto` starts instances also where the file system knows no quotas (spec/decisions.md C-85). */
  readonly quota?: 'auto' | 'required' | 'off';
  readonly diskQuota?: DiskQuota;
  /** Tells people of a state that cannot be read or told to the cloud; the same fault again is no news. */
  readonly onFault?: (ident: InstanceIdent, because: string) => void;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly debounceMs?: number;
}

export interface PrepareRequest {
  readonly ident: InstanceIdent;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0: none. */
  readonly storageQuota: number;
  readonly stateQuota: number;
}

/** A state that is looked after. */
interface Watched {
  readonly watch: StateWatch;
  /** Checksum of what the file holds, as far as it is known. */
  current: string;
}

export class StorageState {
  readonly #options: StorageStateOptions;
  readonly #logger: Logger;
  readonly #store: StateStore;
  readonly #watched = new Map<string, Watched>();
  /** Instances whose directories are known to be as their row says. */
  readonly #prepared = new Set<string>();
  /** One thing at a time per instance. */
  readonly #work = new Map<string, Promise<unknown>>();
  readonly #listeners = new Set<(ident: InstanceIdent, checksum: string) => void>();
  /** What was wrong with a state when it was looked at last. */
  readonly #faults = new Map<string, string>();
  #hasWarnedOfQuotas = false;

  constructor(options: StorageStateOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#store = options.store;
  }

  /** Makes the base directories, completes writes that were interrupted, and watches every state again. */
  async start(): Promise<void> {
    await ensureDirectory(this.#options.storageDir);
    await ensureDirectory(this.#options.stateDir);
    for (const row of this.#store.all()) {
      if (row.stateQuota === 0) continue;
      try {
        await this.#exclusively(row.ident, () => this.#watch(row));
      } catch (error) {
        this.#fault(row.ident, 'a state is not watched', error);
      }
    }
  }

  async stop(): Promise<void> {
    for (const { watch } of this.#watched.values()) watch.close();
    this.#watched.clear();
    await Promise.allSettled(this.#work.values());
  }

  /** Tells of each new checksum of a state. */
  onChecksum(listener: (ident: InstanceIdent, checksum: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** All instances that have a storage or a state, and who they belong to. */
  owners(): readonly (Owner & { readonly ident: InstanceIdent })[] {
    return this.#store.all();
  }

  stateChecksum(ident: InstanceIdent): string | undefined {
    return this.#watched.get(instanceKey(ident))?.current;
  }

  /**
   * Makes the directories be there with owner and quota, and looks after the state. The paths are relative to the base
   * directories, empty for none. Data of a limit that was dropped stays (spec/decisions.md C-51).
   */
  prepare(request: PrepareRequest): Promise<{ readonly storagePath: string; readonly statePath: string }> {
    return this.#exclusively(request.ident, async () => {
      const { ident, uid, gid, storageQuota, stateQuota } = request;
      const relative = relativePath(ident);
      const paths = {
        storagePath: storageQuota > 0 ? relative : '',
        statePath: stateQuota > 0 ? join(relative, STATE_FILE) : '',
      };
      const before = this.#store.get(ident);
      const isSame =
        before !== undefined &&
        before.uid === uid &&
        before.gid === gid &&
        before.storageQuota === storageQuota &&
        before.stateQuota === stateQuota;
      if (isSame && this.#prepared.has(instanceKey(ident))) return paths;
      if (!before && storageQuota === 0 && stateQuota === 0) return paths;

      const row: StateRow = { ...request, checksum: before?.checksum ?? '' };
      if (!isSame) await this.#limit(row);
      const owner = { uid, gid };
      if (storageQuota > 0) await ensureOwnedDirectory(join(this.#options.storageDir, relative), owner);
      if (stateQuota > 0) {
        await ensureOwnedDirectory(join(this.#options.stateDir, relative), owner);
        await ensureStateFile(this.#statePath(ident), owner);
      }
      if (!isSame) this.#store.put(row);
      if (stateQuota > 0) await this.#watch(row);
      else this.#unwatch(ident);
      this.#prepared.add(instanceKey(ident));
      return paths;
    });
  }

  /** The instance does not run any more: what it wrote last is reported, its data stays, nobody watches it. */
  release(ident: InstanceIdent): Promise<void> {
    return this.#exclusively(ident, async () => {
      try {
        await this.#look(ident);
      } catch (error) {
        this.#fault(ident, 'the last state of an instance was not reported', error);
      }
      this.#unwatch(ident);
      this.#prepared.delete(instanceKey(ident));
    });
  }

  /** The instance is gone for good, with its data. */
  remove(ident: InstanceIdent): Promise<void> {
    return this.#exclusively(ident, async () => {
      this.#unwatch(ident);
      this.#prepared.delete(instanceKey(ident));
      // What cannot be the name of a directory never had one.
      if (isDirectoryName(ident.itemId) && isDirectoryName(ident.subjectId)) {
        await removeDirectory(this.#options.storageDir, relativePath(ident));
        await removeDirectory(this.#options.stateDir, relativePath(ident));
      }
      // Last: as long as there is a row the removal can be repeated.
      this.#store.remove(ident);
      this.#faults.delete(instanceKey(ident));
    });
  }

  /** Sizes of the file systems; one pool when both directories are on the same. */
  async budgets() {
    const { storageDir, stateDir } = this.#options;
    const [storageFs, stateFs, shared] = await Promise.all([statfs(storageDir), statfs(stateDir), this.#isOneDevice()]);
    return { storage: storageFs.blocks * storageFs.bsize, state: stateFs.blocks * stateFs.bsize, shared };
  }

  /** The cloud's verdict. Throws `notFound` for an unknown instance, `invalidChecksum` for another state. */
  accept(message: StateAcceptance): Promise<void> {
    const ident = identOf(message);
    return this.#exclusively(ident, async () => {
      const { row, watched } = this.#known(ident);
      if (message.checksum.toLowerCase() !== watched.current && !(await this.#isMeant(message, row, watched))) {
        throw new AosError('invalidChecksum', `the verdict is about another state of ${instanceName(ident)}`);
      }
      if (message.result === 'accepted') this.#store.put({ ...row, checksum: watched.current });
      else this.#requestState(ident);
    });
  }

  /**
   * The cloud's state for an instance: replaces the content in place; the instance is not restarted. Throws `notFound`,
   * `noMemory` "update state exceeds quota", `invalidChecksum`.
   */
  update(message: UpdateState): Promise<void> {
    const ident = identOf(message);
    return this.#exclusively(ident, async () => {
      const { row, watched } = this.#known(ident);
      if (Buffer.byteLength(message.state) > limitOf(row)) {
        throw new AosError('noMemory', 'update state exceeds quota');
      }
      const checksum = stateChecksumOf(message.state);
      if (!isStateChecksum(message.stateChecksum, message.state)) {
        throw new AosError('invalidChecksum', `the state for ${instanceName(ident)} is not what its checksum says`);
      }
      const path = this.#statePath(ident);
      // The instance may have removed it.
      await ensureStateFile(path, row);
      if (row.checksum === '' && message.state === '') {
        // The cloud knows none yet, and the instance has begun one since it was asked: that is the newer.
        const local = await readState(path, STATE.maxBytes);
        if (local.checksum !== checksum) {
          watched.current = local.checksum;
          this.#store.put({ ...row, checksum });
          this.#tell(ident, local.checksum);
          this.#reportState(row, local);
          return;
        }
      }
      await beginWrite(path, message.state);
      // Known before it is seen: our own write is no news.
      watched.current = checksum;
      this.#store.put({ ...row, checksum });
      await finishWrite(path, message.state);
      this.#tell(ident, checksum);
    });
  }

  #known(ident: InstanceIdent): { readonly row: StateRow; readonly watched: Watched } {
    const row = this.#store.get(ident);
    const watched = this.#watched.get(instanceKey(ident));
    if (!row || !watched) throw new AosError('notFound', `${instanceName(ident)} has no state on this unit`);
    return { row, watched };
  }

  /** Whether the verdict names the present state by the checksum of another kind. */
  async #isMeant({ checksum }: StateAcceptance, row: StateRow, watched: Watched): Promise<boolean> {
    const { text, ...present } = await readState(this.#statePath(row.ident), limitOf(row));
    return present.checksum === watched.current && text !== undefined && isStateChecksum(checksum, text);
  }

  /** Begins to look after a state: what it is now, compared with what the cloud knows (spec/decisions.md CM-45). */
  async #watch(given: StateRow): Promise<void> {
    const { ident } = given;
    const path = this.#statePath(ident);
    let row = this.#store.get(ident) ?? given;
    const unfinished = await unfinishedWrite(path);
    if (unfinished) {
      const { content, isSuperseded } = unfinished;
      row = { ...row, checksum: stateChecksumOf(content) };
      this.#store.put(row);
      if (isSuperseded) {
        const instance = instanceName(ident);
        this.#logger.warn(
          { instance },
          'a state of the cloud is not written: the instance wrote a newer one, which stays',
        );
        await dropWrite(path);
      } else await finishWrite(path, content);
    }
    this.#unwatch(ident);
    const { clock = systemClock, debounceMs } = this.#options;
    const watch = new StateWatch({
      directory: join(this.#options.stateDir, relativePath(ident)),
      onRest: () => this.#background(ident, () => this.#look(ident)),
      clock,
      logger: this.#logger,
      ...(debounceMs === undefined ? {} : { debounceMs }),
    });
    try {
      const content = await readState(path, STATE.maxBytes);
      const { checksum } = content;
      this.#watched.set(instanceKey(ident), { watch, current: checksum });
      this.#tell(ident, checksum);
      if (row.checksum === '') this.#requestState(ident);
      else if (row.checksum !== checksum) this.#reportState(row, content);
    } catch (error) {
      if (!this.#watched.has(instanceKey(ident))) watch.close();
      throw error;
    }
  }

  #unwatch(ident: InstanceIdent): void {
    const key = instanceKey(ident);
    this.#watched.get(key)?.watch.close();
    this.#watched.delete(key);
  }

  /** The file has come to rest: another content is news for the cloud. */
  async #look(ident: InstanceIdent): Promise<void> {
    const row = this.#store.get(ident);
    const watched = this.#watched.get(instanceKey(ident));
    if (!row || !watched) return;
    const content = await readState(this.#statePath(ident), limitOf(row));
    const { checksum } = content;
    this.#faults.delete(instanceKey(ident));
    if (checksum === watched.current) return;
    watched.current = checksum;
    this.#tell(ident, checksum);
    this.#reportState(row, content);
  }

  #reportState(row: StateRow, { text: state, bytes, checksum: stateChecksum }: StateContent): void {
    const { ident } = row;
    const refuse = (because: AosError) => this.#fault(ident, 'a state stays on the unit', because);
    if (bytes > limitOf(row)) refuse(tooLarge(bytes, limitOf(row)));
    else if (state === undefined) refuse(new AosError('invalidArgument', 'its content is no UTF-8 text'));
    else
      this.#options.send(
        { messageType: 'newState', ...instanceMembers(ident), stateChecksum, state },
        { durable: true, replaces: `newState ${instanceKey(ident)}` },
      );
  }

  #requestState(ident: InstanceIdent): void {
    this.#options.send(
      { messageType: 'stateRequest', ...instanceMembers(ident), default: false },
      { durable: false, replaces: `stateRequest ${instanceKey(ident)}` },
    );
  }

  #tell(ident: InstanceIdent, checksum: string): void {
    for (const listener of this.#listeners) listener(ident, checksum);
  }

  async #limit({ ident, uid, storageQuota, stateQuota }: StateRow): Promise<void> {
    const { quota = 'auto', diskQuota = systemDiskQuota, storageDir, stateDir } = this.#options;
    if (quota === 'off' || storageQuota + stateQuota === 0) return;
    try {
      if (await this.#isOneDevice()) await diskQuota.setLimit(storageDir, uid, storageQuota + stateQuota);
      else {
        if (storageQuota > 0) await diskQuota.setLimit(storageDir, uid, storageQuota);
        if (stateQuota > 0) await diskQuota.setLimit(stateDir, uid, stateQuota);
      }
    } catch (error) {
      if (quota === 'required') throw error;
      if (this.#hasWarnedOfQuotas) return;
      this.#hasWarnedOfQuotas = true;
      const { message } = asAosError(error);
      this.#logger.warn({ instance: instanceName(ident), error: message }, 'storages and states have no limits here');
    }
  }

  async #isOneDevice(): Promise<boolean> {
    const [storage, state] = await Promise.all([stat(this.#options.storageDir), stat(this.#options.stateDir)]);
    return storage.dev === state.dev;
  }

  #statePath(ident: InstanceIdent): string {
    return join(this.#options.stateDir, relativePath(ident), STATE_FILE);
  }

  #exclusively<T>(ident: InstanceIdent, work: () => Promise<T>): Promise<T> {
    const key = instanceKey(ident);
    const mine = (this.#work.get(key) ?? Promise.resolve()).then(work, work);
    this.#work.set(key, mine);
    const done = () => {
      if (this.#work.get(key) === mine) this.#work.delete(key);
    };
    mine.then(done, done);
    return mine;
  }

  #background(ident: InstanceIdent, work: () => Promise<void>): void {
    this.#exclusively(ident, work).catch((error) => this.#fault(ident, 'a state was not reported', error));
  }

  #fault(ident: InstanceIdent, what: string, error: unknown): void {
    const because = asAosError(error).message;
    this.#logger.error({ instance: instanceName(ident), error: because }, what);
    const key = instanceKey(ident);
    if (this.#faults.get(key) === because) return;
    this.#faults.set(key, because);
    this.#options.onFault?.(ident, because);
  }
}

/** A state is at most as large as its quota and as a message can carry. */
function limitOf({ stateQuota }: StateRow): number {
  return Math.min(stateQuota, STATE.maxBytes);
}

/** Messages name no type: only services have states. */
function identOf(message: StateAcceptance | UpdateState): InstanceIdent {
  const { item, subject, instance } = message;
  return { itemId: item.id, subjectId: subject.id, instance, type: 'service', preinstalled: false };
}

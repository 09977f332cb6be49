/**
 * This node as it can be commanded: by its own servers on the main node, over the stream of the main IAM on others
 * (spec/iam.md 6, 13.7, 13.8, 15.2, 18). One command at a time.
 */
import { isDeepStrictEqual } from 'node:util';
import { AosError, asAosError, type Logger, type NodeState } from '../../core/index.ts';
import type { CertificateHandler } from '../certificates/certificate-handler.ts';
import type { IamConfig } from '../config/iam-config.ts';
import { DISK_ENCRYPTION_TIMEOUT_MS, HOOK_TIMEOUT_MS } from '../limits.ts';
import type { NodeInfo } from '../node-info.ts';
import { runHook } from '../provisioning/run-hook.ts';
import type { CertificateRecord } from '../store/iam-store.ts';
import type { ProvisioningMark } from './provisioning-mark.ts';
import { readStateFile, writeStateFile } from './state-file.ts';
import { type NodeAction, nextState } from './transitions.ts';

type Hooks = Pick<
  IamConfig,
  'startProvisioningCmdArgs' | 'diskEncryptionCmdArgs' | 'finishProvisioningCmdArgs' | 'deprovisionCmdArgs'
>;

export interface LocalNodeOptions {
  readonly description: Omit<NodeInfo, 'state' | 'error'>;
  readonly statePath: string;
  readonly hooks: Hooks;
  readonly mark: ProvisioningMark;
  readonly certificates: CertificateHandler;
  /** The unit's system id, on nodes that know it. */
  readonly systemId?: () => Promise<string>;
  /** Told when a key or a certificate could not be made or stored. */
  readonly onKeyFailure?: () => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class LocalNode {
  readonly #options: LocalNodeOptions;
  readonly #listeners = new Set<(info: NodeInfo) => void>();
  #info: NodeInfo;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: LocalNodeOptions, info: NodeInfo) {
    this.#options = options;
    this.#info = info;
  }

  static async open(options: LocalNodeOptions): Promise<LocalNode> {
    const { state, error } = await readStateFile(options.statePath);
    if (error) options.logger.error({ path: options.statePath, error: error.message }, 'the node is in state error');
    // The process may have been killed when the state was written, or the disk have lost that the files were removed.
    if (state === 'provisioned' || state === 'paused') await options.mark.clear();
    return new LocalNode(options, { ...options.description, state, error });
  }

  get id(): string {
    return this.#info.nodeId;
  }

  /** As it is now. */
  get info(): NodeInfo {
    return this.#info;
  }

  onChange(listener: (info: NodeInfo) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Wipes the tokens, makes them ours, encrypts disks. The first failure ends it; it can be repeated.
   * Throws `wrongState` unless the node is unprovisioned.
   */
  startProvisioning(password: string): Promise<void> {
    return this.#act('startProvisioning', async () => {
      const { hooks, certificates, mark } = this.#options;
      await this.#hook(hooks.startProvisioningCmdArgs, HOOK_TIMEOUT_MS);
      await certificates.own(password, await mark.remember(password));
      await this.#hook(hooks.diskEncryptionCmdArgs, DISK_ENCRYPTION_TIMEOUT_MS);
      await mark.set();
    });
  }

  finishProvisioning(): Promise<void> {
    return this.#act('finishProvisioning', () =>
      this.#hook(this.#options.hooks.finishProvisioningCmdArgs, HOOK_TIMEOUT_MS),
    );
  }

  /** Keys stay until the next start in provisioning mode wipes them (spec/provisioning.md 12). */
  deprovision(): Promise<void> {
    return this.#act('deprovision', () => this.#hook(this.#options.hooks.deprovisionCmdArgs, HOOK_TIMEOUT_MS));
  }

  pause(): Promise<void> {
    return this.#act('pause', async () => undefined);
  }

  resume(): Promise<void> {
    return this.#act('resume', async () => undefined);
  }

  certTypes(): string[] {
    return this.#options.certificates.types('provisioning');
  }

  /** An empty subject means the unit's system id; a node that does not know it throws `invalidArgument`. */
  createKey(type: string, subject: string): Promise<string> {
    return this.#withKeys(async () => {
      const { certificates, systemId } = this.#options;
      if (subject !== '') return certificates.createKey(type, subject);
      if (!systemId) throw new AosError('invalidArgument', 'the subject is empty and this node has no identifier');
      return certificates.createKey(type, await systemId());
    });
  }

  applyCertificate(type: string, pem: string): Promise<CertificateRecord> {
    return this.#withKeys(async () => this.#options.certificates.applyCertificate(type, pem));
  }

  async #withKeys<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#inTurn(work);
    } catch (error) {
      this.#options.onKeyFailure?.();
      throw error;
    }
  }

  #act(action: NodeAction, work: () => Promise<void>): Promise<void> {
    return this.#inTurn(async () => {
      const { logger } = this.#options;
      const next = nextState(action, this.#info.state);
      logger.info({ action, from: this.#info.state, to: next }, 'the node is commanded');
      try {
        await work();
        await this.#setState(next);
        if (action !== 'startProvisioning') await this.#options.mark.clear();
      } catch (error) {
        logger.error({ action, error: asAosError(error).message }, 'a command to the node failed');
        throw error;
      }
    });
  }

  async #setState(state: NodeState): Promise<void> {
    if (state === this.#info.state) return;
    await writeStateFile(this.#options.statePath, state);
    const before = this.#info;
    this.#info = { ...before, state, error: undefined };
    if (isDeepStrictEqual(before, this.#info)) return;
    for (const listener of this.#listeners) listener(this.#info);
  }

  #hook(command: readonly string[], timeoutMs: number): Promise<void> {
    return runHook(command, { timeoutMs, signal: this.#options.signal });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    // Whoever asked hears of the failure; the next command is served all the same.
    this.#turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }
}

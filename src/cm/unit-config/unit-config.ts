/** Keeps the unit configuration, and the nodes in line with it (spec/cm.md 9, spec/decisions.md CM-32, CM-58, CM-59). */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  AosError,
  asAosError,
  canceledBy,
  compareVersions,
  type ErrorInfo,
  fromErrorInfo,
  isAosError,
  type Logger,
  toErrorInfo,
  type UnitConfigState,
} from '../../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, writeFileAtomic } from '../../storage/index.ts';
import type { NodeInfo } from '../model.ts';
import type { NodeConfigStatus, NodeConfigText } from '../nodes/index.ts';
import {
  type NodeConfig,
  nodeConfigOf,
  parseUnitConfig,
  readUnitConfig,
  type UnitConfigDocument,
  writeNodeConfig,
  writeUnitConfig,
} from './document.ts';

/** What it needs of nodes. */
export interface ConfigNodes {
  nodes(): readonly NodeInfo[];
  subscribe(listener: (node: NodeInfo) => void): () => void;
}

/** What it needs of the streams to nodes. */
export interface ConfigLinks {
  isConnected(nodeId: string): boolean;
  getNodeConfigStatus(nodeId: string, signal: AbortSignal): Promise<NodeConfigStatus>;
  checkNodeConfig(nodeId: string, config: NodeConfigText, signal: AbortSignal): Promise<NodeConfigStatus>;
  setNodeConfig(nodeId: string, config: NodeConfigText, signal: AbortSignal): Promise<NodeConfigStatus>;
}

export interface UnitConfigOptions {
  /** `unitConfigFile`. */
  readonly file: string;
  readonly nodes: ConfigNodes;
  readonly links: ConfigLinks;
  readonly logger: Logger;
}

export interface UnitConfigStatus {
  readonly version: string;
  readonly state: UnitConfigState;
  readonly error?: ErrorInfo | undefined;
}

export class UnitConfig {
  readonly #options: UnitConfigOptions;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  readonly #listeners = new Set<(status: UnitConfigStatus) => void>();
  /** Per node, so that a slow node holds up nobody else. */
  readonly #work = new Map<string, Promise<void>>();
  #document: UnitConfigDocument | undefined;
  #status: UnitConfigStatus = { version: '', state: 'absent' };
  #unsubscribe: (() => void) | undefined;

  constructor(options: UnitConfigOptions) {
    this.#options = options;
    this.#logger = options.logger;
  }

  /** Reads the file; a file that cannot be read is a state to report, not a reason to stop. */
  async start(): Promise<void> {
    const { file, nodes } = this.#options;
    await ensureDirectory(dirname(file));
    await removeTemporaryFiles(dirname(file));
    try {
      this.#document = parseUnitConfig(await readFile(file, 'utf8'));
      this.#status = { version: this.#document.version, state: 'installed' };
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!missing) {
        this.#status = { version: '', state: 'failed', error: toErrorInfo(error) };
        this.#logger.error({ file, error: asAosError(error).message }, 'the unit configuration cannot be read');
      }
    }
    this.#unsubscribe = nodes.subscribe((node) => this.#align(node));
    for (const node of nodes.nodes()) this.#align(node);
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#abort.abort();
    await Promise.all(this.#work.values());
  }

  /** What is reported to the cloud. */
  status(): UnitConfigStatus {
    return this.#status;
  }

  subscribe(listener: (status: UnitConfigStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What applies to a node: of the last good configuration, or nothing special. */
  nodeConfig(nodeId: string, nodeType: string): NodeConfig {
    return nodeConfigOf(this.#document, nodeId, nodeType);
  }

  /**
   * Checks the version and asks every connected node that does not have it yet. Throws `alreadyExist` for the same
   * version, `wrongState` "wrong version" for a lower one, `invalidArgument` for a malformed document, `noMemory` for one
   * that is too large, or a node's error.
   */
  async check(config: unknown, signal: AbortSignal): Promise<void> {
    const document = readUnitConfig(config);
    this.#checkVersion(document.version);
    writeUnitConfig(document);
    const all = AbortSignal.any([signal, this.#abort.signal]);
    for (const node of this.#connected()) {
      const status = await this.#options.links.getNodeConfigStatus(node.nodeId, all);
      if (status.version === document.version && !status.error) continue;
      const answer = await this.#options.links.checkNodeConfig(node.nodeId, textFor(document, node), all);
      throwIfRefused(answer);
    }
  }

  /**
   * Checks, stores and distributes. Never throws for what the outcome can tell: the answer is what the cloud is told.
   * A configuration that a node refuses after it was stored stays in force; the node gets it again when it changes.
   */
  async apply(config: unknown, signal: AbortSignal): Promise<UnitConfigStatus> {
    let version = versionOf(config);
    try {
      const document = readUnitConfig(config);
      version = document.version;
      await this.check(config, signal);
      await this.#install(document);
      await this.#distribute(document, AbortSignal.any([signal, this.#abort.signal]));
      return this.#status;
    } catch (error) {
      if (signal.aborted) throw canceledBy(signal);
      this.#logger.warn({ version, error: asAosError(error).message }, 'the unit configuration was not applied');
      return { version, state: 'failed', error: toErrorInfo(error) };
    }
  }

  #checkVersion(version: string): void {
    if (this.#status.state !== 'installed') {
      compareVersions(version, version);
      return;
    }
    const order = compareVersions(version, this.#status.version);
    if (order === 0) throw new AosError('alreadyExist', `version ${version} is installed`);
    if (order < 0) throw new AosError('wrongState', 'wrong version');
  }

  /** The file first: memory must never be newer than the disk. */
  async #install(document: UnitConfigDocument): Promise<void> {
    await writeFileAtomic(this.#options.file, writeUnitConfig(document), {
      mode: 0o600,
      faultName: 'unit-config.save',
    });
    this.#document = document;
    this.#status = { version: document.version, state: 'installed' };
    this.#logger.info({ version: document.version }, 'a new unit configuration is in force');
    for (const listener of this.#listeners) listener(this.#status);
  }

  /** Gives it to every connected node; the first error is thrown when all were served. */
  async #distribute(document: UnitConfigDocument, signal: AbortSignal): Promise<void> {
    const results = await Promise.allSettled(
      this.#connected().map(async (node) =>
        throwIfRefused(await this.#options.links.setNodeConfig(node.nodeId, textFor(document, node), signal)),
      ),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Nodes with a stream; nodes without an SM have no configuration to take. */
  #connected(): readonly NodeInfo[] {
    const { nodes, links } = this.#options;
    return nodes.nodes().filter(({ nodeId, isConnected }) => isConnected && links.isConnected(nodeId));
  }

  /** Brings a node that changed to the version in force; one after the other per node. */
  #align(node: NodeInfo): void {
    const { nodeId } = node;
    if (!node.isConnected || !this.#options.links.isConnected(nodeId)) return;
    const before = this.#work.get(nodeId) ?? Promise.resolve();
    const mine = before
      .then(() => this.#alignNow(node))
      .catch((error) => {
        if (isAosError(error, 'canceled')) return;
        this.#logger.warn({ nodeId, error: asAosError(error).message }, 'a node has not taken the unit configuration');
      })
      .finally(() => {
        if (this.#work.get(nodeId) === mine) this.#work.delete(nodeId);
      });
    this.#work.set(nodeId, mine);
  }

  async #alignNow(node: NodeInfo): Promise<void> {
    const { signal } = this.#abort;
    const document = this.#document;
    if (!document || this.#status.state !== 'installed' || signal.aborted) return;
    const status = await this.#options.links.getNodeConfigStatus(node.nodeId, signal);
    if (status.version === document.version && !status.error) return;
    throwIfRefused(await this.#options.links.setNodeConfig(node.nodeId, textFor(document, node), signal));
  }
}

function textFor(document: UnitConfigDocument, { nodeId, nodeType }: NodeInfo): NodeConfigText {
  return { json: writeNodeConfig(nodeConfigOf(document, nodeId, nodeType)), version: document.version };
}

function throwIfRefused({ error }: NodeConfigStatus): void {
  const refusal = fromErrorInfo(error);
  if (refusal) throw refusal;
}

/** The version of a document that could not be read, if it has one. */
function versionOf(config: unknown): string {
  const version = (config as { version?: unknown } | null)?.version;
  return typeof version === 'string' ? version : '';
}

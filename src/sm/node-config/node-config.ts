/** Configuration of the node: alert rules, labels, priority, ratios (spec/sm.md 11.2, 11.3). */
import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import {
  AosError,
  asAosError,
  compareVersions,
  type ErrorInfo,
  isObject,
  type Logger,
  parseJson,
  readDocument,
  toErrorInfo,
  type UnitConfigState,
} from '../../core/index.ts';
import { AlertRules } from '../../oci/index.ts';
import { ensureDirectory, writeFileAtomic } from '../../storage/index.ts';

const Named = z.object({ codename: z.string().min(1, 'expected a codename') });

/** Ratios, labels and priority are the CM's affair; they are kept for it. */
const NodeConfigDocument = z.object({
  version: z.string().default(''),
  node: Named.optional(),
  nodeGroupSubject: Named,
  alertRules: AlertRules.optional(),
  resourceRatios: z.record(z.string(), z.number()).optional(),
  labels: z.array(z.string()).default([]),
  priority: z.int().min(0).default(0),
});
export type NodeConfig = z.output<typeof NodeConfigDocument>;

export interface NodeConfigStatus {
  readonly state: UnitConfigState;
  readonly version: string;
  readonly error?: ErrorInfo | undefined;
}

const FILE_MODE = 0o600;

type Held =
  | { readonly state: 'absent' }
  | { readonly state: 'installed'; readonly config: NodeConfig }
  | { readonly state: 'failed'; readonly error: AosError };

/** Throws `invalidArgument` naming the field. */
export function parseNodeConfig(text: string): NodeConfig {
  return readDocument(NodeConfigDocument, parseJson(text, 'node config'), { what: 'node config' }).value;
}

/** The file of the node config and what it means; the file is written before anything follows it (T-70). */
export class NodeConfigKeeper {
  readonly #path: string;
  readonly #events = new EventEmitter<{ change: [NodeConfig] }>();
  #held: Held;
  /** The last one that was set; the next is compared with what it has made. */
  #setting: Promise<unknown> = Promise.resolve();

  private constructor(path: string, held: Held) {
    this.#path = path;
    this.#held = held;
  }

  /** No file: absent. A file that cannot be read or understood: failed, and a new config is the way out. */
  static async open(path: string, logger: Logger): Promise<NodeConfigKeeper> {
    try {
      const config = parseNodeConfig(await readFile(path, 'utf8'));
      return new NodeConfigKeeper(path, { state: 'installed', config });
    } catch (error) {
      const failure = asAosError(error, `node config ${path}`);
      if (failure.code === 'notFound') return new NodeConfigKeeper(path, { state: 'absent' });
      logger.error({ path }, failure.message);
      return new NodeConfigKeeper(path, { state: 'failed', error: failure });
    }
  }

  /** Undefined unless installed. */
  get config(): NodeConfig | undefined {
    return this.#held.state === 'installed' ? this.#held.config : undefined;
  }

  status(): NodeConfigStatus {
    const held = this.#held;
    return {
      state: held.state,
      version: held.state === 'installed' ? held.config.version : '',
      ...(held.state === 'failed' ? { error: toErrorInfo(held.error) } : {}),
    };
  }

  onChange(listener: (config: NodeConfig) => void): () => void {
    this.#events.on('change', listener);
    return () => this.#events.off('change', listener);
  }

  /** The state of now, the version asked about, and why the config could not be installed (spec/sm.md 2.2). */
  check(text: string, version: string): NodeConfigStatus {
    const { state } = this.#held;
    try {
      parseNodeConfig(text);
      if (this.#held.state === 'failed') throw this.#held.error;
      this.#checkVersion(version);
      return { state, version };
    } catch (error) {
      return { state, version, error: toErrorInfo(error) };
    }
  }

  /** Installs it, one at a time. The answer carries the state from before (T-04). */
  set(text: string, version: string): Promise<NodeConfigStatus> {
    const answer = this.#setting.then(() => this.#set(text, version));
    this.#setting = answer;
    return answer;
  }

  async #set(text: string, version: string): Promise<NodeConfigStatus> {
    const { state } = this.#held;
    try {
      const config = { ...parseNodeConfig(text), version };
      this.#checkVersion(version);
      await ensureDirectory(dirname(this.#path));
      await writeFileAtomic(this.#path, withVersion(text, version), { mode: FILE_MODE, faultName: 'sm.node-config' });
      this.#held = { state: 'installed', config };
      this.#events.emit('change', config);
      return { state, version };
    } catch (error) {
      return { state, version, error: toErrorInfo(error) };
    }
  }

  #checkVersion(version: string): void {
    // A twin sends an empty version with a config that has none; there is nothing to compare then.
    if (this.#held.state !== 'installed' || this.#held.config.version === '') {
      if (version !== '') compareVersions(version, version);
      return;
    }
    const order = compareVersions(version, this.#held.config.version);
    if (order === 0) throw new AosError('alreadyExist', `node config ${version} is installed`);
    if (order < 0) {
      throw new AosError('wrongState', `wrong version: ${version} is lower than ${this.#held.config.version}`);
    }
  }
}

/** The document as it came, with the version of the message; the spelling of its other keys is kept. */
function withVersion(text: string, version: string): string {
  const document = parseJson(text, 'node config');
  if (!isObject(document)) throw new AosError('invalidArgument', 'node config is no JSON object');
  const rest = Object.entries(document).filter(([key]) => key.toLowerCase() !== 'version');
  return `${JSON.stringify({ ...(version ? { version } : {}), ...Object.fromEntries(rest) }, null, 2)}\n`;
}

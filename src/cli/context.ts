/** What every command gets: where to ask, how to answer. */
import { dirname, join } from 'node:path';
import { AosError, isAosError } from '../core/index.ts';
import { askControl, followControl, uploadControl } from '../daemon/index.ts';
import { CloudClient } from './cloud-client.ts';
import { EXIT, UNREACHABLE } from './exit-codes.ts';
import type { Output } from './output.ts';
import { DEFAULT_CONFIG_DIR, DEFAULT_SOCKET, type Profile } from './profile.ts';

export const LOCAL_DAEMONS = ['cm', 'sm', 'iam'] as const;
export type LocalDaemon = (typeof LOCAL_DAEMONS)[number];

/** What `--config-dir` is, wherever it is taken. */
export const CONFIG_DIR_HELP = `configurations of the daemons (default: ${DEFAULT_CONFIG_DIR})`;

export interface ContextOptions {
  readonly profile: Profile;
  /** Whether the command line itself names a unit: then the cloud is asked about it, not this machine. */
  readonly namesUnit: boolean;
  readonly output: Output;
  /** Aborts with Ctrl-C. */
  readonly signal: AbortSignal;
}

export class Context {
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly namesUnit: boolean;
  /** Of the process, for a command that has an answer and yet did not go well. */
  exitCode: number = EXIT.done;
  readonly #options: ContextOptions;
  readonly #profile: Profile;
  #cloud: CloudClient | undefined;

  constructor(options: ContextOptions) {
    const { profile, namesUnit, output, signal } = options;
    this.#options = options;
    this.#profile = profile;
    this.namesUnit = namesUnit;
    this.output = output;
    this.signal = signal;
  }

  /** The cloud; made when first asked for, so that local commands need no profile. */
  get cloud(): CloudClient {
    this.#cloud ??= new CloudClient(this.#profile);
    return this.#cloud;
  }

  /** The unit that cloud commands are about. Throws `invalidArgument` when none is named. */
  get unit(): string {
    if (this.#profile.unit === undefined) {
      throw new AosError('invalidArgument', 'no unit is named: give --unit <system id>; "aosctl units" lists them');
    }
    return this.#profile.unit;
  }

  get configDir(): string {
    return this.#profile.configDir ?? DEFAULT_CONFIG_DIR;
  }

  /** Files of logs, on a machine without a journal. */
  get logDir(): string | undefined {
    return this.#profile.logDir;
  }

  /** Throws `invalidArgument` when another unit is named for what only this machine can tell or do. */
  mustBeHere(): void {
    if (!this.namesUnit) return;
    throw new AosError(
      'invalidArgument',
      `this is about this machine alone: leave --unit out, or log in on ${this.unit} and ask there`,
    );
  }

  /** The unit that is named, if one is. */
  get namedUnit(): string | undefined {
    return this.#profile.unit;
  }

  /** The same, with another place for answers, another unit, or another end. */
  with(changes: Partial<Pick<ContextOptions, 'output' | 'signal'>> & { readonly unit?: string }): Context {
    const { unit = this.#profile.unit, ...options } = changes;
    const profile = { ...this.#profile, ...(unit !== undefined && { unit }) };
    const other = new Context({ ...this.#options, ...options, profile });
    other.#cloud = this.#cloud;
    return other;
  }

  /** Asks the local CM. */
  readonly askLocal = <T>(path: string, body?: unknown): Promise<T> => this.askDaemon<T>('cm', path, body);

  /** Sends a stream of bytes to the local CM; ends with Ctrl-C. */
  async uploadLocal<T>(path: string, source: AsyncIterable<Uint8Array>): Promise<T> {
    try {
      return await uploadControl<T>(this.socketOf('cm'), path, source, this.signal);
    } catch (error) {
      throw await this.#whyAway('cm', error);
    }
  }

  /** Asks the local IAM. */
  readonly askIam = <T>(path: string, body?: unknown): Promise<T> => this.askDaemon<T>('iam', path, body);

  /** Asks a daemon of this node. */
  async askDaemon<T>(daemon: LocalDaemon, path: string, body?: unknown): Promise<T> {
    try {
      return await askControl<T>(this.socketOf(daemon), path, body);
    } catch (error) {
      throw await this.#whyAway(daemon, error);
    }
  }

  /** A stream of a daemon of this node; ends with Ctrl-C. Throws when the daemon goes away. */
  async *followDaemon<T>(daemon: LocalDaemon, path: string, body: unknown): AsyncGenerator<T> {
    try {
      yield* followControl<T>(this.socketOf(daemon), path, body, this.signal);
    } catch (error) {
      throw await this.#whyAway(daemon, error);
    }
  }

  /** The sockets of all daemons lie beside that of the CM, unless `$AOS_SM_SOCKET` or `$AOS_IAM_SOCKET` says otherwise. */
  socketOf(daemon: LocalDaemon): string {
    const cm = this.#profile.socket ?? process.env.AOS_CM_SOCKET ?? DEFAULT_SOCKET;
    if (daemon === 'cm') return cm;
    return process.env[`AOS_${daemon.toUpperCase()}_SOCKET`] ?? join(dirname(cm), `${daemon}.sock`);
  }

  /** A daemon that does not listen is another failure than one that knows no such thing; on a blank node it is none. */
  async #whyAway(daemon: LocalDaemon, error: unknown): Promise<unknown> {
    const isAway = isAosError(error, 'notFound') && error.cause !== undefined;
    if (!isAway) return error;
    const elsewhere = daemon === 'cm' ? '; a unit through its cloud: --unit' : '';
    const message =
      daemon !== 'iam' && (await this.#isBlank())
        ? `this node is blank, so aos-${daemon} does not run: "aosctl provision <address of this node>", from where the cloud is reached, makes it a member of a unit`
        : `${error.message} (another socket: --socket${elsewhere})`;
    return new AosError('notFound', message, { cause: error, fields: UNREACHABLE });
  }

  /** As far as IAM can be asked. */
  #isBlank(): Promise<boolean> {
    return askControl<{ mode?: unknown }>(this.socketOf('iam'), '/status').then(
      ({ mode }) => mode === 'provisioning',
      () => false,
    );
  }

  close(): void {
    this.#cloud?.close();
  }
}

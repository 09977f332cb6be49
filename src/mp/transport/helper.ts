/**
 * The transport by a helper program, for links that Node.js cannot open, such as a Xen vchan: its standard input and output
 * are the connection (spec/mp.md 5.2, spec/decisions.md 3.4, docs/multi-node.md).
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { Duplex } from 'node:stream';
import { AosError, boundedLines, canceledBy, type Logger } from '../../core/index.ts';
import type { Transport } from './transport.ts';

const END_MS = 5_000;
const MAX_WORDS = 400;

export interface HelperOptions {
  /** Program and its arguments. */
  readonly command: readonly string[];
  /** Put over the environment of the daemon. */
  readonly env: Readonly<Record<string, string>>;
  /** The proxy's side: there is a connection once the peer has said something, and not before. */
  readonly waitsForPeer: boolean;
  readonly logger: Logger;
  /** One that was told to end is killed after this time; 5 s if absent. */
  readonly endMs?: number;
}

/** One run of the program is one connection. */
export class HelperTransport implements Transport {
  readonly address: string;
  readonly begins = true;
  readonly #options: HelperOptions;
  #stream: HelperStream | undefined;
  #isClosed = false;

  constructor(options: HelperOptions) {
    this.#options = options;
    this.address = `helper ${basename(options.command[0] ?? '')}`;
  }

  /** Throws `failed` with the last words of a program that cannot be started or that ended before the peer was there. */
  async next(signal: AbortSignal): Promise<Duplex> {
    await this.#stream?.finish();
    if (signal.aborted) throw canceledBy(signal);
    if (this.#isClosed) throw new AosError('canceled', `the ${this.address} is used no more`);
    const stream = this.#start();
    this.#stream = stream;
    const canceled = Promise.withResolvers<never>();
    const onAbort = () => canceled.reject(canceledBy(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const there = this.#options.waitsForPeer ? stream.heard : stream.started;
      await Promise.race([there, stream.gone, canceled.promise]);
    } catch (error) {
      stream.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    return stream;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#stream?.finish();
  }

  #start(): HelperStream {
    const { command, env, logger, endMs = END_MS } = this.#options;
    // The socket that systemd gave is for the daemon alone.
    const { NOTIFY_SOCKET: _, ...own } = process.env;
    const [program = '', ...args] = command;
    const child = spawn(program, args, { env: { ...own, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    return new HelperStream(child, { name: this.address, endMs, logger });
  }
}

interface StreamOptions {
  readonly name: string;
  readonly endMs: number;
  readonly logger: Logger;
}

/** The standard streams of a running helper; ends when it does. */
class HelperStream extends Duplex {
  readonly started: Promise<void>;
  /** The first byte came. */
  readonly heard: Promise<void>;
  /** Rejects with why the program ended. */
  readonly gone: Promise<never>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #options: StreamOptions;
  #words = '';

  constructor(child: ChildProcessWithoutNullStreams, options: StreamOptions) {
    super({ allowHalfOpen: false });
    this.#child = child;
    this.#options = options;
    const [started, heard, gone] = [
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
      Promise.withResolvers<never>(),
    ];
    [this.started, this.heard, this.gone] = [started.promise, heard.promise, gone.promise];
    // Whoever waits hears of it; often nobody does.
    gone.promise.catch(() => undefined);
    this.on('error', () => undefined);
    child.once('spawn', started.resolve);
    child.stdout.on('data', (chunk: Buffer) => {
      heard.resolve();
      if (!this.push(chunk) && !this.destroyed) child.stdout.pause();
    });
    // What the end of the program means is said when it has ended.
    child.stdin.on('error', () => child.kill());
    child.once('error', (error) => this.#over(`cannot be started: ${error.message}`, gone.reject));
    child.once('close', (code, signal) => {
      const how = `ended with ${signal ?? `status ${code}`}${this.#words === '' ? '' : `: ${this.#words}`}`;
      this.#over(how, gone.reject, code === 0);
    });
    void this.#hear();
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#child.stdin.write(chunk, (error) => {
      if (!error) done();
    });
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', done);
  }

  override _final(done: () => void): void {
    this.#child.stdin.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#child.stdin.destroy();
    // A reader that stopped would hold the end of the program up.
    this.#child.stdout.resume();
    this.#child.kill();
    done(error);
  }

  /** Resolves when the program is gone. */
  async finish(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    this.destroy();
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#options.endMs);
    await once(this.#child, 'exit');
    clearTimeout(timer);
  }

  #over(how: string, reject: (error: AosError) => void, isOrderly = false): void {
    const error = new AosError('failed', `the ${this.#options.name} ${how}`);
    reject(error);
    if (isOrderly) this.push(null);
    else this.destroy(error);
  }

  async #hear(): Promise<void> {
    const { name, logger } = this.#options;
    try {
      for await (const line of boundedLines(this.#child.stderr, MAX_WORDS)) {
        this.#words = line;
        logger.info({ helper: name }, line);
      }
    } catch (error) {
      logger.debug({ helper: name, error: String(error) }, 'what the helper says cannot be read');
    }
  }
}

/** The optional log of all frames, for test benches (spec/cm.md 1.2 `cloudMessageLog`). It holds secrets. */
import { appendFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asAosError, type Logger } from '../../core/index.ts';

/** Frames that wait for a slow disk; more are left out. */
const MAX_PENDING = 1000;

export class MessageLog {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #logger: Logger;
  #work: Promise<void> = Promise.resolve();
  #pending = 0;
  #sizeBytes: number | undefined;

  /** An empty path switches the log off. */
  constructor(path: string, maxBytes: number, logger: Logger) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#logger = logger;
  }

  received(frame: Buffer): void {
    this.#append('RX', frame);
  }

  transmitted(frame: Buffer): void {
    this.#append('TX', frame);
  }

  /** Resolves when all is written. */
  flush(): Promise<void> {
    return this.#work;
  }

  #append(direction: 'RX' | 'TX', frame: Buffer): void {
    if (this.#path === '' || this.#pending >= MAX_PENDING) return;
    this.#pending += 1;
    this.#work = this.#work
      .then(() => this.#write(Buffer.concat([Buffer.from(`${direction}: `), frame, Buffer.from('\n')])))
      .catch((error: unknown) => {
        this.#logger.warn({ path: this.#path, error: asAosError(error).message }, 'cannot write the cloud message log');
      })
      .finally(() => {
        this.#pending -= 1;
      });
  }

  /** A full file becomes `<path>.1`, so that two files are the most there is. */
  async #write(line: Buffer): Promise<void> {
    if (this.#sizeBytes === undefined) {
      await mkdir(dirname(this.#path), { recursive: true });
      this.#sizeBytes = await stat(this.#path).then(
        ({ size }) => size,
        () => 0,
      );
    }
    if (this.#sizeBytes > 0 && this.#sizeBytes + line.length > this.#maxBytes) {
      await rename(this.#path, `${this.#path}.1`);
      this.#sizeBytes = 0;
    }
    await appendFile(this.#path, line, { mode: 0o600 });
    this.#sizeBytes += line.length;
  }
}

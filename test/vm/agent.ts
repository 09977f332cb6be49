/**
 * The host's end of the agent in the machine (guest/usr/local/lib/machine/agent): runs scripts over a virtio port, which
 * works without network and as early as the port is there.
 */
import { connect, type Socket } from 'node:net';

/** How a script ended. */
export interface ScriptResult {
  /** Exit status; 124 when its time was over. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as it came. */
  readonly output: Buffer;
}

export interface ScriptOptions {
  readonly input?: string | Buffer;
  /** The machine ends the script after it. */
  readonly timeoutS?: number;
}

const DEFAULT_TIMEOUT_S = 120;
/** For the way there and back. */
const GRACE_MS = 15_000;

interface Waiting {
  readonly resolve: (result: ScriptResult) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Agent {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, Waiting>();
  readonly #hello: PromiseWithResolvers<string> = Promise.withResolvers();
  #received: Buffer = Buffer.alloc(0);
  #nextId = 1;

  /** Connects to qemu's side of the port. */
  constructor(socketPath: string) {
    this.#hello.promise.catch(() => undefined);
    this.#socket = connect(socketPath);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#read();
    });
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('close', () => this.#fail(new Error('the machine is gone')));
  }

  /** Resolves with the boot id when the machine's agent is there. */
  get ready(): Promise<string> {
    return this.#hello.promise;
  }

  run(script: string, options: ScriptOptions = {}): Promise<ScriptResult> {
    const id = String(this.#nextId++);
    const seconds = options.timeoutS ?? DEFAULT_TIMEOUT_S;
    const code = Buffer.from(script);
    const input = Buffer.from(options.input ?? '');
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error('the machine is gone'));
        return;
      }
      const timer = setTimeout(
        () => {
          this.#waiting.delete(id);
          reject(
            new Error(`the machine did not answer within ${seconds} s and ${GRACE_MS} ms: ${script.slice(0, 200)}`),
          );
        },
        seconds * 1000 + GRACE_MS,
      );
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.write(`run ${id} ${seconds} ${code.length} ${input.length}\n`);
      this.#socket.write(code);
      this.#socket.write(input);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    this.#hello.reject(error);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
  }

  /** Takes complete answers off what was received. */
  #read(): void {
    for (;;) {
      const end = this.#received.indexOf('\n');
      if (end < 0) return;
      const [verb, id = '', status, outBytes, errBytes] = this.#received.subarray(0, end).toString().split(' ');
      if (verb === 'hello') {
        this.#hello.resolve(id);
        this.#received = this.#received.subarray(end + 1);
        continue;
      }
      const bodyEnd = end + 1 + Number(outBytes) + Number(errBytes);
      if (this.#received.length < bodyEnd) return;
      const output = this.#received.subarray(end + 1, end + 1 + Number(outBytes));
      const errors = this.#received.subarray(end + 1 + Number(outBytes), bodyEnd);
      this.#received = this.#received.subarray(bodyEnd);
      const waiting = this.#waiting.get(id);
      if (!waiting) continue;
      this.#waiting.delete(id);
      clearTimeout(waiting.timer);
      waiting.resolve({
        status: Number(status),
        stdout: output.toString(),
        stderr: errors.toString(),
        output: Buffer.from(output),
      });
    }
  }
}

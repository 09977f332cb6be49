/** One WebSocket connection to the cloud (spec/cloud-protocol.md 3). */
import type { SecureContextOptions } from 'node:tls';
import { WebSocket } from 'ws';
import { AosError, asAosError, type Clock, canceledBy } from '../../core/index.ts';
import { watchLife } from '../../daemon/index.ts';
import type { LinkNumbers } from './model.ts';

/** The upgrade was answered with another status than 101. */
export class UpgradeRefused extends AosError {
  readonly status: number;

  constructor(url: string, status: number) {
    super('failed', `${url} refused the WebSocket with status ${status}`, { exitCode: status });
    this.status = status;
  }
}

export interface SessionOptions {
  readonly token: string;
  readonly tls: SecureContextOptions;
  readonly numbers: LinkNumbers;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Each whole message, binary or text. */
  readonly onFrame: (frame: Buffer, session: Session) => void;
}

const CLOSE_NORMAL = 1000;
const CLOSE_WAIT_MS = 2000;

export class Session {
  /** Resolves with the reason when the connection is over; never rejects. */
  readonly ended: Promise<AosError>;
  readonly #socket: WebSocket;
  readonly #options: SessionOptions;
  #failure: AosError | undefined;

  private constructor(socket: WebSocket, options: SessionOptions) {
    const { clock, numbers } = options;
    this.#socket = socket;
    this.#options = options;
    const onDead = (silentMs: number) => {
      const words = `nothing arrived for ${Math.round(silentMs / 1000)} s: the connection is dead`;
      this.#failure ??= new AosError('timeout', words);
    };
    watchLife(socket, numbers, onDead, clock);
    socket.on('message', (data) => options.onFrame(toBuffer(data), this));
    socket.on('error', (error) => {
      this.#failure ??= failureOf(error, options.numbers.maxInboundFrameBytes);
    });
    const abort = () => this.close();
    options.signal.addEventListener('abort', abort, { once: true });
    this.ended = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        options.signal.removeEventListener('abort', abort);
        resolve(this.#failure ?? new AosError('eof', closedText(code, reason.toString())));
      });
    });
    if (options.signal.aborted) abort();
  }

  /** Connects. Throws `UpgradeRefused`, `timeout`, `canceled` or what the network says. */
  static async open(url: string, options: SessionOptions): Promise<Session> {
    const { numbers, signal, token, tls } = options;
    const socket = new WebSocket(url, {
      ...tls,
      headers: { Authorization: `Bearer ${token}`, Accept: 'application/json' },
      perMessageDeflate: false,
      handshakeTimeout: numbers.connectTimeoutMs,
      maxPayload: numbers.maxInboundFrameBytes,
    });
    const abort = () => socket.terminate();
    signal.addEventListener('abort', abort, { once: true });
    // Frames that arrive together with the answer must find their listener: it is set before this turn ends.
    try {
      return await new Promise<Session>((resolve, reject) => {
        socket.once('open', () => resolve(new Session(socket, options)));
        socket.once('unexpected-response', (request, response) => {
          reject(new UpgradeRefused(url, response.statusCode ?? 0));
          request.destroy();
        });
        socket.on('error', reject);
        if (signal.aborted) abort();
      });
    } catch (error) {
      socket.terminate();
      if (signal.aborted) throw canceledBy(signal);
      throw error instanceof AosError ? error : asAosError(error, `cannot connect to ${url}`);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Writes one unfragmented binary frame; resolves when the system took it. A send that hangs ends the session. */
  async send(frame: Buffer): Promise<void> {
    const { sendTimeoutMs } = this.#options.numbers;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        const error = new AosError('timeout', `a message could not be sent within ${sendTimeoutMs} ms`);
        this.#end(error);
        reject(error);
      }, sendTimeoutMs);
      this.#socket.send(frame, { binary: true, compress: false, fin: true }, (error) => {
        clearTimeout(timer);
        if (error) reject(asAosError(error, 'cannot send'));
        else resolve();
      });
    });
  }

  /** Says goodbye; a peer that does not answer is cut off. */
  close(): void {
    this.#socket.close(CLOSE_NORMAL);
    const timer = setTimeout(() => this.#socket.terminate(), CLOSE_WAIT_MS);
    void this.ended.then(() => clearTimeout(timer));
  }

  #end(error: AosError): void {
    this.#failure ??= error;
    this.#socket.terminate();
  }
}

/** The code of a frame that is larger than `maxPayload`; `ws` then closes with 1009, which tells the cloud as much. */
const TOO_LARGE = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';

function failureOf(error: Error, maxBytes: number): AosError {
  if ((error as NodeJS.ErrnoException).code !== TOO_LARGE) return asAosError(error, 'the connection failed');
  return new AosError(
    'outOfRange',
    `the cloud sent a message of more than ${maxBytes} bytes, the most that is read; it will send it again`,
    { cause: error },
  );
}

function toBuffer(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function closedText(code: number, reason: string): string {
  return `the cloud closed the connection (code ${code}${reason ? `: ${reason}` : ''})`;
}

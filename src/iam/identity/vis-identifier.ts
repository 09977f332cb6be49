/**
 * Identity from the vehicle: a client of its information service over a WebSocket (spec/iam.md 8.2). The VIN is the
 * system id; the connection comes back by itself, and subjects are followed.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { WebSocket } from 'ws';
import * as z from 'zod';
import { AosError, asAosError, isObject, type Logger, parseJson, readDocument, systemClock } from '../../core/index.ts';
import { type LifeNumbers, watchLife } from '../../daemon/index.ts';
import type { VisIdentifierParams } from '../config/iam-config.ts';
import { VIS_CLOSE_MS, VIS_LIFE, VIS_RECONNECT_MS } from '../limits.ts';
import type { Identifier, SystemInfo } from './identifier.ts';
import { checkSubjects, parseSystemId, parseUnitModel } from './identity-text.ts';

const VIN_PATH = 'Attribute.Vehicle.VehicleIdentification.VIN';
const UNIT_MODEL_PATH = 'Attribute.Aos.UnitModel';
const SUBJECTS_PATH = 'Attribute.Aos.Subjects';

const MAX_MESSAGE_BYTES = 1024 * 1024;
/** An option of `ws` that its types do not know yet. */
const GOODBYE = { closeTimeout: VIS_CLOSE_MS };

const Message = z.object({
  action: z.string(),
  requestId: z.string().optional(),
  subscriptionId: z.string().optional(),
  value: z.unknown().optional(),
  error: z.unknown().optional(),
});
type Message = z.infer<typeof Message>;

interface Waiter {
  readonly resolve: (message: Message) => void;
  readonly reject: (error: AosError) => void;
}

export class VisIdentifier implements Identifier {
  readonly #params: VisIdentifierParams;
  readonly #logger: Logger;
  readonly #life: LifeNumbers;
  readonly #stopping = new AbortController();
  readonly #listeners = new Set<(subjects: readonly string[]) => void>();
  readonly #waiters = new Map<string, Waiter>();
  #socket: WebSocket | undefined;
  #running: Promise<void> | undefined;
  /** Resolves with the socket of the next connection. */
  #connected = Promise.withResolvers<WebSocket>();
  #wasOpen = false;
  #system: SystemInfo | undefined;
  #subjects: readonly string[] | undefined;
  /** What clients were told last; survives a reconnection, so that equal subjects are no news. */
  #told: readonly string[] | undefined;
  #subscriptionId: string | undefined;

  constructor(params: VisIdentifierParams, logger: Logger, life: LifeNumbers = VIS_LIFE) {
    this.#params = params;
    this.#logger = logger;
    this.#life = life;
  }

  async start(): Promise<void> {
    const ca = this.#params.caCertFile === '' ? undefined : await readCa(this.#params.caCertFile);
    this.#running = this.#run(ca);
  }

  async stop(): Promise<void> {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ action: 'unsubscribeAll', requestId: randomUUID() }));
    }
    this.#stopping.abort();
    this.#socket?.close();
    await this.#running;
  }

  /** Waits for the vehicle, at most as long as the configured time-out. */
  async systemInfo(): Promise<SystemInfo> {
    if (this.#system) return this.#system;
    const systemId = parseSystemId(text(await this.#get(VIN_PATH), VIN_PATH), VIN_PATH);
    const model = parseUnitModel(text(await this.#get(UNIT_MODEL_PATH), UNIT_MODEL_PATH), UNIT_MODEL_PATH);
    this.#system = { systemId, ...model };
    return this.#system;
  }

  async subjects(): Promise<readonly string[]> {
    if (this.#subjects) return this.#subjects;
    const subjects = readSubjects(await this.#get(SUBJECTS_PATH));
    this.#subjects = subjects;
    this.#told ??= subjects;
    return subjects;
  }

  onSubjectsChange(listener: (subjects: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(ca: string | undefined): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#connectOnce(ca);
      } catch (error) {
        this.#logger.warn({ server: this.#params.visServer, error: asAosError(error).message }, 'no vehicle data');
      }
      this.#forget();
      try {
        await systemClock.sleep(VIS_RECONNECT_MS, this.#stopping.signal);
      } catch {
        return; // stopped while waiting
      }
    }
  }

  /** Resolves when the connection has ended. */
  async #connectOnce(ca: string | undefined): Promise<void> {
    // Only host and port of the URL count; the name in the certificate is not checked.
    const { host } = new URL(this.#params.visServer);
    const socket = new WebSocket(`wss://${host}/`, {
      ...(ca === undefined ? {} : { ca }),
      // The types of `ws` ask for a boolean, Node.js takes anything but undefined for a refusal.
      checkServerIdentity: (() => undefined) as unknown as () => boolean,
      maxPayload: MAX_MESSAGE_BYTES,
      handshakeTimeout: this.#params.webSocketTimeout,
      ...GOODBYE,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    const closed = new Promise<void>((resolve, reject) => {
      socket.once('close', () => resolve());
      socket.once('error', reject);
    });
    socket.on('message', (data) => this.#receive(String(data)));
    socket.once('open', () => {
      watchLife(socket, this.#life, (silentMs) =>
        this.#logger.warn({ server: this.#params.visServer, silentMs }, 'the vehicle gives no sign of life'),
      );
      this.#wasOpen = true;
      this.#connected.resolve(socket);
      this.#follow(socket).catch((error) => {
        this.#logger.warn({ error: asAosError(error).message }, 'subjects of the vehicle cannot be followed');
        socket.close();
      });
    });
    if (this.#stopping.signal.aborted) socket.close();
    await closed;
  }

  async #follow(socket: WebSocket): Promise<void> {
    const { subscriptionId } = await this.#ask(socket, 'subscribe', SUBJECTS_PATH);
    this.#subscriptionId = subscriptionId;
    // What changed while the connection was away is news too.
    this.#setSubjects(readSubjects((await this.#ask(socket, 'get', SUBJECTS_PATH)).value));
  }

  #forget(): void {
    this.#system = undefined;
    this.#subjects = undefined;
    this.#subscriptionId = undefined;
    this.#socket = undefined;
    for (const { reject } of this.#waiters.values())
      reject(new AosError('failed', 'the vehicle closed the connection'));
    this.#waiters.clear();
    // Whoever waits for a connection that never came about goes on waiting for the next one.
    if (this.#wasOpen) this.#connected = Promise.withResolvers<WebSocket>();
    this.#wasOpen = false;
  }

  #receive(data: string): void {
    try {
      const { value: message } = readDocument(Message, parseJson(data, 'a message of the vehicle'), {
        what: 'a message of the vehicle',
        lenientScalars: true,
      });
      if (message.action === 'subscription') {
        if (message.subscriptionId === this.#subscriptionId) this.#setSubjects(readSubjects(message.value));
        return;
      }
      const waiter = this.#waiters.get(message.requestId ?? '');
      this.#waiters.delete(message.requestId ?? '');
      waiter?.resolve(message);
    } catch (error) {
      this.#logger.warn({ error: asAosError(error).message }, 'a message of the vehicle was refused');
    }
  }

  #setSubjects(subjects: readonly string[]): void {
    this.#subjects = subjects;
    const isNews = this.#told !== undefined && !isDeepStrictEqual(this.#told, subjects);
    this.#told = subjects;
    if (!isNews) return;
    for (const listener of this.#listeners) listener(subjects);
  }

  async #get(path: string): Promise<unknown> {
    const timeoutMs = this.#params.webSocketTimeout;
    const socket = await within(this.#connected.promise, timeoutMs, 'the vehicle is not connected');
    return (await this.#ask(socket, 'get', path)).value;
  }

  async #ask(socket: WebSocket, action: 'get' | 'subscribe', path: string): Promise<Message> {
    const requestId = randomUUID();
    const answer = new Promise<Message>((resolve, reject) => this.#waiters.set(requestId, { resolve, reject }));
    answer.catch(() => undefined);
    socket.send(JSON.stringify({ action, requestId, path }));
    try {
      const message = await within(answer, this.#params.webSocketTimeout, `no answer of the vehicle about ${path}`);
      if (message.error !== undefined) {
        throw new AosError('failed', `the vehicle refuses ${path}: ${JSON.stringify(message.error).slice(0, 128)}`);
      }
      return { ...message, value: unwrap(message.value, path) };
    } finally {
      this.#waiters.delete(requestId);
    }
  }
}

/** The value itself may stand below its path. */
function unwrap(value: unknown, path: string): unknown {
  return isObject(value) && Object.keys(value).length === 1 && path in value ? value[path] : value;
}

function text(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  throw new AosError('invalidArgument', `the vehicle's ${path} is no text`);
}

function readSubjects(value: unknown): string[] {
  const list = unwrap(value, SUBJECTS_PATH);
  const { value: subjects } = readDocument(z.array(z.string()), list, { what: SUBJECTS_PATH });
  return checkSubjects(subjects, 'the vehicle');
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, `cannot read ${path}`);
  }
}

async function within<T>(promise: Promise<T>, timeoutMs: number, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new AosError('timeout', otherwise)), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

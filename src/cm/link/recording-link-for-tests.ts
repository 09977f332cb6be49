/** A link that keeps what is sent and lets a test play the cloud. */
import { AosError } from '../../core/index.ts';
import type { CloudMessage, RefusedEntry, UnitMessage } from '../../protocol/index.ts';
import type { CloudLinkApi, HandledType, Handler, LinkReport, SendOptions } from './index.ts';

export class RecordingLink implements CloudLinkApi {
  readonly sent: UnitMessage[] = [];
  readonly options: SendOptions[] = [];
  readonly state: LinkReport = { state: 'connected', since: '1970-01-01T00:00:00.000Z' };
  connected = true;
  readonly #handlers = new Map<string, Handler<HandledType>>();
  readonly #listeners = new Set<(connected: boolean) => void>();

  send(message: UnitMessage, options: SendOptions = {}): void {
    this.sent.push(message);
    this.options.push(options);
  }

  request(): Promise<CloudMessage> {
    throw new AosError('notSupported', 'a test asks for nothing');
  }

  handle<T extends HandledType>(type: T, handler: Handler<T>): void {
    this.#handlers.set(type, handler as unknown as Handler<HandledType>);
  }

  onConnection(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setOpening(): void {
    throw new AosError('notSupported', 'a test opens no session');
  }

  start(): void {
    this.setConnected(true);
  }

  async stop(): Promise<void> {
    this.setConnected(false);
  }

  setConnected(connected: boolean): void {
    this.connected = connected;
    for (const listener of this.#listeners) listener(connected);
  }

  /** Plays the cloud; resolves when the handler is done. */
  async receive(
    message: Extract<CloudMessage, { messageType: HandledType }>,
    refused: readonly RefusedEntry[] = [],
  ): Promise<void> {
    const handler = this.#handlers.get(message.messageType);
    if (!handler) throw new AosError('notFound', `nobody handles ${message.messageType}`);
    await handler(message, { txn: 'txn', refused });
  }
}

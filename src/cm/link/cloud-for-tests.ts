/** A scripted cloud for tests of the link: real HTTPS and WebSocket servers on loopback. */
import { once } from 'node:events';
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { Mailbox } from '../../core/index.ts';
import {
  type CloudMessage,
  decodeUnitMessage,
  type Envelope,
  encodeEnvelope,
  type UnitMessage,
} from '../../protocol/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';

export const SYSTEM_ID = 'unit-7f31c2';

export interface DiscoveryRequest {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
  /** Serial number of the client's certificate; empty without TLS. */
  readonly serial: string;
}

/** One WebSocket of the unit, as the cloud sees it. */
export class CloudSession {
  readonly request: IncomingMessage;
  readonly socket: WebSocket;
  /** Everything but acks, in order of arrival, with each repetition. */
  readonly messages = new Mailbox<Envelope<UnitMessage>>(10_000);
  readonly acks = new Mailbox<string>(10_000);
  readonly closed: Promise<unknown>;
  readonly #iterator: AsyncIterator<Envelope<UnitMessage>>;
  readonly #ackIterator: AsyncIterator<string>;

  constructor(socket: WebSocket, request: IncomingMessage, answersAcks: () => boolean) {
    this.socket = socket;
    this.request = request;
    this.closed = once(socket, 'close').then(() => {
      this.messages.close();
      this.acks.close();
    });
    this.#iterator = this.messages[Symbol.asyncIterator]();
    this.#ackIterator = this.acks[Symbol.asyncIterator]();
    socket.on('error', () => undefined);
    socket.on('message', (data, isBinary) => {
      if (!isBinary) throw new Error('the unit sent a text frame');
      const envelope = decodeUnitMessage(data as Buffer, { systemId: SYSTEM_ID });
      if (envelope.data.messageType === 'ack') {
        this.acks.push(envelope.header.txn);
        return;
      }
      if (answersAcks()) this.ack(envelope.header.txn);
      this.messages.push(envelope);
    });
  }

  get serial(): string {
    return peerSerial(this.request);
  }

  /** The next message; undefined when the session is over. */
  async next(): Promise<Envelope<UnitMessage> | undefined> {
    const { value, done } = await this.#iterator.next();
    return done ? undefined : value;
  }

  async nextAck(): Promise<string | undefined> {
    const { value, done } = await this.#ackIterator.next();
    return done ? undefined : value;
  }

  send(data: CloudMessage, txn: string = crypto.randomUUID()): string {
    this.sendRaw(encodeEnvelope({ txn, systemId: SYSTEM_ID, createdAt: new Date(), data }));
    return txn;
  }

  sendRaw(frame: Buffer | string): void {
    this.socket.send(frame, { binary: typeof frame !== 'string' });
  }

  ack(txn: string): void {
    this.send({ messageType: 'ack' }, txn);
  }
}

export interface FakeCloudOptions {
  readonly tls?: { readonly identity: TestIdentity; readonly ca: TestIdentity };
  /** False: pings are not answered. */
  readonly answersPings?: boolean;
}

export class FakeCloud {
  readonly sessions = new Mailbox<CloudSession>(1000);
  readonly discoveries = new Mailbox<DiscoveryRequest>(1000);
  /** What discovery answers; a number is a status. */
  answer: (request: DiscoveryRequest) => object | number | string;
  /** Status of the upgrade; 101 lets it through. */
  upgradeStatus: (request: IncomingMessage) => number = () => 101;
  /** Whether messages are acknowledged at once. */
  acknowledges = true;
  readonly #http: HttpServer;
  readonly #sockets: WebSocketServer;
  readonly #secure: boolean;
  readonly #sessionIterator: AsyncIterator<CloudSession>;
  readonly #discoveryIterator: AsyncIterator<DiscoveryRequest>;

  private constructor({ tls, answersPings = true }: FakeCloudOptions) {
    this.#sockets = new WebSocketServer({ noServer: true, autoPong: answersPings });
    this.#secure = tls !== undefined;
    this.#sessionIterator = this.sessions[Symbol.asyncIterator]();
    this.#discoveryIterator = this.discoveries[Symbol.asyncIterator]();
    const listener = (request: IncomingMessage, response: ServerResponse) => void this.#discover(request, response);
    this.#http = tls
      ? createTlsServer(
          {
            cert: tls.identity.pem,
            key: tls.identity.privateKey.export({ format: 'pem', type: 'pkcs8' }),
            ca: tls.ca.pem,
            requestCert: true,
            rejectUnauthorized: true,
          },
          listener,
        )
      : createServer(listener);
    this.#http.on('upgrade', (request, socket, head) => {
      const status = this.upgradeStatus(request);
      if (status !== 101) {
        socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.sessions.push(new CloudSession(webSocket, request, () => this.acknowledges));
      });
    });
    this.answer = () => ({ version: 7, systemId: SYSTEM_ID, connectionInfo: [this.socketUrl], authToken: 'token-1' });
  }

  static async open(options: FakeCloudOptions = {}): Promise<FakeCloud> {
    const cloud = new FakeCloud(options);
    cloud.#http.listen(0, '127.0.0.1');
    await once(cloud.#http, 'listening');
    return cloud;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get discoveryUrl(): string {
    return `${this.#secure ? 'https' : 'http'}://localhost:${this.port}/sd/v7/`;
  }

  get socketUrl(): string {
    return `${this.#secure ? 'wss' : 'ws'}://localhost:${this.port}/ws/v7/`;
  }

  async nextSession(): Promise<CloudSession> {
    return (await this.#sessionIterator.next()).value as CloudSession;
  }

  async nextDiscovery(): Promise<DiscoveryRequest> {
    return (await this.#discoveryIterator.next()).value as DiscoveryRequest;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #discover(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const asked: DiscoveryRequest = {
      url: request.url ?? '',
      headers: request.headers,
      body: JSON.parse(Buffer.concat(chunks).toString()),
      serial: peerSerial(request),
    };
    this.discoveries.push(asked);
    const answer = this.answer(asked);
    response.statusCode = typeof answer === 'number' ? answer : 200;
    response.end(typeof answer === 'object' ? JSON.stringify(answer) : String(answer));
  }
}

function peerSerial(request: IncomingMessage): string {
  const socket = request.socket as Partial<TLSSocket>;
  return socket.getPeerCertificate?.()?.serialNumber?.toLowerCase() ?? '';
}

/** A root, a server for `localhost`, and identities of the unit. */
export async function makePki(): Promise<{ root: TestIdentity; server: TestIdentity; online: TestIdentity }> {
  const root = await makeCertificate('root', { ca: true });
  const server = await makeCertificate('cloud', { issuer: root, dnsName: 'localhost' });
  const online = await makeCertificate('unit', { issuer: root });
  return { root, server, online };
}

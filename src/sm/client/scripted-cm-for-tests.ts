/** A CM for tests: real gRPC with mutual TLS; what it says and hears is in the hands of the test. */
import { once } from 'node:events';
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { network, sm } from '../../api/contracts.ts';
import { ApiServer, type TlsIdentity } from '../../api/index.ts';
import { Mailbox, silentLogger } from '../../core/index.ts';
import type { CertificateUrls, CredentialSource } from '../../daemon/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';

type Incoming = sm.SMIncomingMessages['SMIncomingMessage'];
type Outgoing = sm.SMOutgoingMessages['SMOutgoingMessage'];
export type OutgoingCase = NonNullable<Outgoing['case']>;
type ValueOf<C extends OutgoingCase> = Extract<Outgoing, { case: C }>['value'];

/** One stream of a node. */
export class ScriptedStream {
  readonly #incoming: AsyncIterator<sm.SMOutgoingMessages>;
  readonly #outgoing = new Mailbox<sm.SMIncomingMessages>(1000);

  constructor(incoming: AsyncIterable<sm.SMOutgoingMessages>) {
    this.#incoming = incoming[Symbol.asyncIterator]();
    // The first that any CM says, before it has heard who is there (spec/decisions.md C-66).
    const status = create(sm.ConnectionStatusSchema, { cloudStatus: sm.ConnectionEnum.CONNECTED });
    this.say({ case: 'connectionStatus', value: status });
  }

  get messages(): AsyncIterable<sm.SMIncomingMessages> {
    return this.#outgoing;
  }

  /** The next message of the node. */
  async next(): Promise<Outgoing> {
    const { value, done } = await this.#incoming.next();
    if (done) throw new Error('the node ended the stream');
    return (value as sm.SMOutgoingMessages).SMOutgoingMessage;
  }

  /** The next message, which must be of this kind. */
  async expect<C extends OutgoingCase>(kind: C): Promise<ValueOf<C>> {
    const message = await this.next();
    if (message.case !== kind) throw new Error(`expected ${kind}, heard ${message.case}`);
    return message.value as unknown as ValueOf<C>;
  }

  /** Kinds of the messages until the node ends the stream. */
  async rest(): Promise<string[]> {
    const kinds: string[] = [];
    try {
      for (;;) kinds.push((await this.next()).case ?? '');
    } catch {
      // The end, orderly or not, is what was waited for.
      return kinds;
    }
  }

  say(message: Incoming): void {
    this.#outgoing.push(create(sm.SMIncomingMessagesSchema, { SMIncomingMessage: message }));
  }

  end(): void {
    this.#outgoing.close();
  }
}

export class ScriptedCm {
  readonly root: TestIdentity;
  readonly credentials: FakeCredentials;
  /** Streams that nodes opened and nobody has taken yet. */
  readonly streams = new Mailbox<ScriptedStream>(100);
  blobs = new Map<string, string>();
  readonly #taken = this.streams[Symbol.asyncIterator]();
  #server: ApiServer;
  readonly #identity: TlsIdentity;

  private constructor(root: TestIdentity, server: ApiServer, identity: TlsIdentity, credentials: FakeCredentials) {
    this.root = root;
    this.#server = server;
    this.#identity = identity;
    this.credentials = credentials;
  }

  static async open(): Promise<ScriptedCm> {
    const root = await makeCertificate('root', { ca: true });
    const identity = tlsIdentity(await makeCertificate('cm', { issuer: root, dnsName: 'localhost' }));
    const credentials = new FakeCredentials(tlsIdentity(await makeCertificate('sm', { issuer: root })));
    let cm!: ScriptedCm;
    const server = await listen('127.0.0.1:0', identity, root, () => cm);
    cm = new ScriptedCm(root, server, identity, credentials);
    return cm;
  }

  get address(): string {
    return `localhost:${this.#server.address.port}`;
  }

  /** The next stream that a node opens. */
  async stream(): Promise<ScriptedStream> {
    return (await this.#taken.next()).value as ScriptedStream;
  }

  /** Is away, as a CM that was killed; the port is free until `comeBack`. */
  async goAway(): Promise<() => Promise<void>> {
    const { port } = this.#server.address;
    await this.#server.close();
    return async () => {
      this.#server = await listen(`127.0.0.1:${port}`, this.#identity, this.root, () => this);
    };
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

/** One network for whoever asks, with addresses that are never given twice. */
function networkRoutes(): ServiceImpl<typeof network.NetworkService> {
  const subnet = '172.17.0.0/16';
  let given = 1;
  return {
    getNodeNetworkParams: () => ({ subnet, ip: '172.17.0.1', vlanId: 7n }),
    allocateInstanceNetwork: () => {
      given += 1;
      return { subnet, ip: `172.17.${given >> 8}.${given & 255}` };
    },
    releaseInstanceNetwork: () => ({}),
    releaseNodeNetwork: () => ({}),
    syncNetworkState: () => ({}),
    async *subscribeInstanceNetworkUpdates(_, { signal }) {
      await once(signal, 'abort');
      yield* [];
    },
  };
}

function listen(address: string, identity: TlsIdentity, root: TestIdentity, cm: () => ScriptedCm): Promise<ApiServer> {
  return ApiServer.open({
    listen: address,
    tls: { identity, ca: root.pem, clientCertificate: 'required' },
    logger: silentLogger,
    routes: (router) => {
      router.service(sm.SMService, {
        async *registerSM(incoming) {
          const stream = new ScriptedStream(incoming);
          cm().streams.push(stream);
          yield* stream.messages;
        },
        getBlobsInfos: ({ digests }) => ({ urls: digests.map((digest) => cm().blobs.get(digest) ?? '') }),
      });
      router.service(network.NetworkService, networkRoutes());
    },
  });
}

export function tlsIdentity(certificate: TestIdentity): TlsIdentity {
  const pem = certificate.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  return { certificateChain: certificate.pem, key: { kind: 'pem', pem } };
}

/** Credentials that are there at once and change when the test says so. */
export class FakeCredentials implements CredentialSource {
  readonly #identity: TlsIdentity;
  #listeners: ((urls: CertificateUrls) => void)[] = [];

  constructor(identity: TlsIdentity) {
    this.#identity = identity;
  }

  urls(type: string): Promise<CertificateUrls> {
    return Promise.resolve({ type, certUrl: 'file:cert', keyUrl: 'file:key' });
  }

  identity(): Promise<TlsIdentity> {
    return Promise.resolve(this.#identity);
  }

  onChange(_: string, listener: (urls: CertificateUrls) => void): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((entry) => entry !== listener);
    };
  }

  change(): void {
    for (const listener of this.#listeners) listener({ type: 'sm', certUrl: 'file:new', keyUrl: 'file:new' });
  }
}

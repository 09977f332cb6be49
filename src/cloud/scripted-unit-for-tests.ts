/** A unit that does what a test says: registers, discovers, connects, answers or keeps silent. */
import { randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';
import {
  type CloudMessage,
  decodeCloudMessage,
  encodeEnvelope,
  type Header,
  type UnitMessage,
} from '../protocol/index.ts';
import { type CloudAccess, fetchHttps } from './cloud-access-for-tests.ts';
import { exportKey, generateKeys, type KeyKind, SIGNING_ALGORITHM, x509 } from './pki/x509.ts';

export interface Received<M extends CloudMessage = CloudMessage> {
  readonly header: Header;
  readonly data: M;
}

export interface UnitIdentity {
  readonly cert: string;
  readonly key: string;
}

/** A request for a certificate as IAM makes it, with its key. */
export async function makeCsr(
  systemId: string,
  names: readonly string[] = [],
  kind: KeyKind = 'ec',
  usages: readonly string[] = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
): Promise<{ readonly csr: string; readonly key: string }> {
  const keys = await generateKeys(kind);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${systemId}`,
    keys,
    signingAlgorithm: kind === 'ec' ? SIGNING_ALGORITHM : { name: 'RSASSA-PKCS1-v1_5' },
    extensions:
      names.length === 0
        ? []
        : [
            new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns' as const, value }))),
            new x509.ExtendedKeyUsageExtension([...usages]),
          ],
  });
  return { csr: csr.toString('pem'), key: await exportKey(keys.privateKey) };
}

export async function registrationOf(systemId: string) {
  const online = await makeCsr(systemId);
  const offline = await makeCsr(systemId, [], 'rsa');
  const iam = await makeCsr(systemId, ['localhost', 'main']);
  const request = {
    hardware_id: systemId,
    system_uid: systemId,
    model_name: 'demo',
    model_version: '1.0',
    provisioning_software: 'aos-provisioning:5.3.0',
    online_public_csr: online.csr,
    offline_public_csr: offline.csr,
    online_public_node_id: 'main',
    offline_public_node_id: 'main',
    additional_csrs: [{ cert_type: 'iam', csr: iam.csr, node_id: 'main' }],
    nodes: [{ id: 'main', identity: { codename: 'main' }, attrs: { MainNode: '' } }],
    secure_data: JSON.stringify({ version: '2.0.0', nodes: { main: 'password of main' } }),
  };
  return { request, keys: { online: online.key, offline: offline.key, iam: iam.key } };
}

export const REGISTRATION_PATH = '/api/v11/units/provisioning/';

type Waiting = { readonly accept: (received: Received) => boolean; readonly resolve: (received: Received) => void };

export class ScriptedUnit {
  readonly systemId: string;
  readonly identity: UnitIdentity;
  readonly cloud: CloudAccess;
  /** Messages of the cloud that nobody has taken yet. */
  readonly inbox: Received[] = [];
  /** Txns that the cloud acknowledged. */
  readonly acks: string[] = [];
  /** Whether messages of the cloud are acknowledged. */
  acknowledges = true;
  #socket: WebSocket | undefined;
  readonly #waiting = new Set<Waiting>();
  #token = '';

  private constructor(systemId: string, identity: UnitIdentity, cloud: CloudAccess) {
    this.systemId = systemId;
    this.identity = identity;
    this.cloud = cloud;
  }

  /** Registers a new unit through the provisioning call. */
  static async register(cloud: CloudAccess, systemId = `unit-${randomUUID().slice(0, 8)}`): Promise<ScriptedUnit> {
    const { request, keys } = await registrationOf(systemId);
    const answer = await cloud.must<{ online_certificate: string }>('POST', REGISTRATION_PATH, request);
    return new ScriptedUnit(systemId, { cert: answer.online_certificate, key: keys.online }, cloud);
  }

  /** A unit that was registered before. */
  static known(cloud: CloudAccess, systemId: string, identity: UnitIdentity): ScriptedUnit {
    return new ScriptedUnit(systemId, identity, cloud);
  }

  get path(): string {
    return `/api/units/${this.systemId}`;
  }

  async discover(body: object = { version: 7, systemId: this.systemId, supportedProtocols: ['wss'] }) {
    const options = { method: 'POST', ca: this.cloud.root, agent: false, ...this.identity } as const;
    const answer = await fetchHttps(this.cloud.endpoints.discoveryUrl, options, JSON.stringify(body));
    const value = JSON.parse(answer.body.toString()) as {
      connectionInfo?: string[];
      authToken?: string;
      errorCode?: number;
      detail?: string;
    };
    this.#token = value.authToken ?? this.#token;
    return { status: answer.status, ...value };
  }

  /** Connects with the token of the last discovery, or another one. Rejects with the status of a refusal. */
  connect(token = this.#token): Promise<void> {
    const socket = new WebSocket(this.cloud.endpoints.webSocketUrl, {
      ca: this.cloud.root,
      ...this.identity,
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
    });
    this.#socket = socket;
    socket.on('message', (data, isBinary) => {
      if (!isBinary) throw new Error('the cloud sent a text frame');
      this.#receive(data as Buffer);
    });
    return new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
  }

  /** Discovers, connects, and tells of itself. */
  async comeOnline(status: Partial<Extract<UnitMessage, { messageType: 'unitStatus' }>> = {}): Promise<void> {
    await this.discover();
    await this.connect();
    this.sendStatus({ isDeltaInfo: false, nodes: [], items: [], instances: [], subjects: [], ...status });
    await this.next('desiredStatus');
  }

  sendStatus(status: Partial<Extract<UnitMessage, { messageType: 'unitStatus' }>>): string {
    return this.send({ messageType: 'unitStatus', isDeltaInfo: true, ...status });
  }

  /** Answers the txn. */
  send(data: UnitMessage, txn: string = randomUUID()): string {
    this.sendFrame(encodeEnvelope({ txn, systemId: this.systemId, createdAt: new Date(), data }));
    return txn;
  }

  sendFrame(frame: Buffer | string): void {
    this.#socket!.send(frame);
  }

  /** The next message of a type; those of other types stay. */
  next<T extends CloudMessage['messageType']>(
    messageType: T,
  ): Promise<Received<Extract<CloudMessage, { messageType: T }>>> {
    return this.#take((received) => received.data.messageType === messageType) as Promise<
      Received<Extract<CloudMessage, { messageType: T }>>
    >;
  }

  /** Waits for the acknowledgement of a message. */
  async acked(txn: string): Promise<void> {
    const index = this.acks.indexOf(txn);
    if (index < 0) {
      await this.#take((received) => received.data.messageType === 'ack' && received.header.txn === txn);
    }
    this.acks.splice(this.acks.indexOf(txn), 1);
  }

  /** Says goodbye. */
  leave(code: number): void {
    this.#socket!.close(code);
  }

  /** Resolves with the code of the close frame. */
  closed(): Promise<number> {
    return new Promise((resolve) => this.#socket!.once('close', resolve));
  }

  /** Reads nothing any more, as a unit that was switched off. */
  hang(): void {
    this.#socket!.pause();
  }

  disconnect(): void {
    this.#socket?.terminate();
  }

  #receive(frame: Buffer): void {
    const { header, data } = decodeCloudMessage(frame, { systemId: this.systemId });
    const received = { header, data };
    if (data.messageType === 'ack') this.acks.push(header.txn);
    else if (data.messageType !== 'nack' && this.acknowledges) this.send({ messageType: 'ack' }, header.txn);
    for (const waiting of this.#waiting) {
      if (!waiting.accept(received)) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(received);
      return;
    }
    if (data.messageType !== 'ack') this.inbox.push(received);
  }

  #take(accept: (received: Received) => boolean): Promise<Received> {
    const index = this.inbox.findIndex(accept);
    if (index >= 0) return Promise.resolve(this.inbox.splice(index, 1)[0]!);
    return new Promise((resolve) => this.#waiting.add({ accept, resolve }));
  }
}

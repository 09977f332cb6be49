/** Keys and certificates of this node, by type (spec/iam.md 9). Everything that changes them goes through here. */
import { randomBytes, type X509Certificate } from 'node:crypto';
import type { TlsIdentity } from '../../api/index.ts';
import { AosError, asAosError, type Clock, type Logger, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import { MAX_CERT_SUBSCRIPTIONS, MAX_PENDING_KEYS, PENDING_KEY_LIFE_MS } from '../limits.ts';
import type { CertificateRecord, IamStore } from '../store/iam-store.ts';
import type { CertificateModule, KeyPlace } from './certificate-module.ts';
import { checkCommonName } from './certificate-request.ts';
import { type Chain, names, parseChain, publicKeyOf } from './chain.ts';
import { chooseEvicted, currentRecord, planScan } from './token-scan.ts';

export interface CertificateHandlerOptions {
  readonly modules: readonly CertificateModule[];
  readonly store: IamStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Says what is wrong with a chain in the eyes of this unit, or undefined. */
  readonly judgeChain: (chain: Chain) => string | undefined;
  /** Whether what `judgeChain` says is an error. */
  readonly strictChain: boolean;
  /** Whether a blank token, or none, is an error for types that have certificates; otherwise they have none then. */
  readonly tokensMustBeThere?: boolean;
}

interface Pending {
  readonly keyId: Buffer;
  readonly createdMonotonicMs: number;
}

interface ModuleState {
  readonly module: CertificateModule;
  pending: Pending[];
  leftovers: Buffer[];
}

interface Subscription {
  readonly type: string;
  readonly listener: (record: CertificateRecord) => void;
  current: CertificateRecord;
}

export class CertificateHandler {
  readonly #options: CertificateHandlerOptions;
  readonly #states: ReadonlyMap<string, ModuleState>;
  readonly #subscriptions = new Set<Subscription>();
  /** The last key; its failure is told to who asked for it. */
  #making: Promise<void> = Promise.resolve();

  constructor(options: CertificateHandlerOptions) {
    this.#options = options;
    this.#states = new Map(options.modules.map((module) => [module.type, { module, pending: [], leftovers: [] }]));
  }

  /** Opens the tokens and makes the rows equal to what is in them. */
  async start(): Promise<void> {
    for (const place of this.#places()) await place.start();
    for (const state of this.#states.values()) {
      if (state.module.place.isOwned) this.#scan(state);
      else this.#forgetAll(state);
    }
  }

  /** A key that is being made is waited for: the library must not go while a thread is in it. */
  async stop(): Promise<void> {
    await this.#making.catch(() => undefined);
    for (const place of this.#places()) place.stop();
  }

  /** Throws when a token does not hold the certificate in use of one of its types. */
  checkTokens(): void {
    for (const { module } of this.#states.values()) {
      const record = currentRecord(this.#options.store.certificates(module.type));
      if (record === undefined || module.hasCertificate(record)) continue;
      throw goneError(module.place);
    }
  }

  /** Types in the order of the configuration; provisioning clients do not see the self-signed ones. */
  types(view: 'all' | 'provisioning' = 'all'): string[] {
    return [...this.#states.values()]
      .filter(({ module }) => view === 'all' || !module.config.selfSigned)
      .map(({ module }) => module.type);
  }

  /** Wipes all tokens and makes them ours; makes the self-signed certificates (spec/iam.md 18.2). */
  async own(password: string, formerPasswords: readonly string[] = []): Promise<void> {
    for (const place of this.#places()) {
      await place.own(password, formerPasswords);
      const wiped = [...this.#states.values()].filter(({ module }) => module.place === place);
      this.#options.store.clearTypes(wiped.map(({ module }) => module.type));
      for (const state of wiped) {
        state.pending = [];
        state.leftovers = [];
      }
    }
    for (const state of this.#states.values()) {
      if (state.module.config.selfSigned) await this.#makeSelfSigned(state);
    }
  }

  /** A new key and the request for its certificate, in PEM. One at a time; the key waits 24 hours for its certificate. */
  async createKey(type: string, commonName: string): Promise<string> {
    const state = this.#state(type);
    checkCommonName(commonName);
    const keyId = await this.#newKey(state);
    try {
      return state.module.request(keyId, commonName);
    } catch (error) {
      this.#giveUpKey(state, keyId);
      throw error;
    }
  }

  /** Stores a certificate of a key that waits for one. Applying the same one again changes nothing. */
  applyCertificate(type: string, pem: string): CertificateRecord {
    const state = this.#state(type);
    const chain = parseChain(pem);
    const known = this.#knownRecord(state, chain.leaf);
    if (known) return known;
    const pending = this.#pendingOf(state, chain.leaf);
    this.#judge(type, chain);
    return this.#store(state, chain, pending.keyId);
  }

  /**
   * The certificate in use, or the one with this issuer (DER) and serial number when a serial number is given.
   * Throws `notFound` (spec/iam.md 9.3).
   */
  get(type: string, issuer?: Uint8Array, serial?: Uint8Array): CertificateRecord {
    this.#state(type);
    if (!serial || serial.length === 0) {
      const record = currentRecord(this.#options.store.certificates(type));
      if (record) return record;
      throw new AosError('notFound', `there is no certificate of type "${type}" on this node yet`);
    }
    const wanted = trimLeadingZeros(serial);
    const meant = this.#options.store
      .certificates()
      .filter((row) => row.serial.equals(wanted) && row.issuer.equals(Buffer.from(issuer ?? [])));
    // Of any type, as the reference answers; where an authority gave the number twice, the one of this type.
    const record = currentRecord(meant.filter((row) => row.type === type)) ?? currentRecord(meant);
    if (record) return record;
    throw new AosError('notFound', `no certificate of this issuer has the serial number ${wanted.toString('hex')}`);
  }

  /** All certificates, for the control socket. */
  records(): CertificateRecord[] {
    return this.#options.store.certificates();
  }

  /** True while a key waits for its certificate: a provisioning is under way. */
  get hasPendingKeys(): boolean {
    return [...this.#states.values()].some((state) => this.#alive(state).length > 0);
  }

  /** Chain and key of the certificate in use, for TLS. */
  identity(type: string): TlsIdentity {
    return this.#state(type).module.identity(this.get(type));
  }

  /** Tells of each change of the certificate in use. Throws `notFound` without one (spec/iam.md 9.9). */
  subscribe(type: string, listener: (record: CertificateRecord) => void): () => void {
    const current = this.get(type);
    if (this.#subscriptions.size >= MAX_CERT_SUBSCRIPTIONS) {
      throw new AosError('noMemory', `there are ${MAX_CERT_SUBSCRIPTIONS} certificate subscriptions already`);
    }
    const subscription = { type, listener, current };
    this.#subscriptions.add(subscription);
    return () => this.#subscriptions.delete(subscription);
  }

  /** How many listen for changes, the own servers among them. */
  get followers(): number {
    return this.#subscriptions.size;
  }

  #places(): KeyPlace[] {
    return [...new Set(this.#options.modules.map(({ place }) => place))];
  }

  #state(type: string): ModuleState {
    const state = this.#states.get(type);
    if (state) return state;
    throw new AosError('notFound', `certificate type "${type}" is unknown; this node has ${this.types().join(', ')}`);
  }

  /** A blank token has nothing, so the database has nothing; written only when that is news. */
  #forgetAll({ module }: ModuleState): void {
    const { store, tokensMustBeThere } = this.#options;
    const { type, place } = module;
    if (tokensMustBeThere && store.certificates(type).length > 0) {
      throw goneError(place);
    }
    if (store.certificates(type).length > 0 || store.pendingKeys(type).length > 0) store.clearTypes([type]);
  }

  #scan(state: ModuleState): void {
    const { store, logger } = this.#options;
    const { module } = state;
    state.pending = this.#loadPending(module.type);
    if (module.config.skipValidation) return;
    const pendingIds = state.pending.map(({ keyId }) => keyId.toString('hex'));
    const plan = planScan(module.scan(), store.certificates(module.type), pendingIds);
    if (plan.added.length > 0 || plan.removed.length > 0) {
      logger.info(
        { type: module.type, added: plan.added.length, removed: plan.removed.length },
        'certificates were corrected by what is there',
      );
      store.changeCertificates(plan.removed, plan.added);
    }
    for (const id of plan.settledPending) this.#forgetPending(state, Buffer.from(id, 'hex'));
    state.leftovers = plan.leftovers.map((id) => Buffer.from(id, 'hex'));
    if (state.leftovers.length > 0) {
      logger.warn({ type: module.type, ids: plan.leftovers }, 'leftovers of keys go before the next key is made');
    }
    this.#dropExpired(state);
  }

  /** Age by the wall clock, as far as it can be believed; from then on by the monotonic one. */
  #loadPending(type: string): Pending[] {
    const { store, clock } = this.#options;
    const nowMs = clock.now().getTime();
    return store.pendingKeys(type).map(({ keyId, createdAtMs }) => {
      const ageMs = createdAtMs >= PLAUSIBLE_DATE_MS ? Math.max(0, nowMs - createdAtMs) : 0;
      return { keyId, createdMonotonicMs: clock.monotonicMs() - ageMs };
    });
  }

  #alive(state: ModuleState): Pending[] {
    const nowMs = this.#options.clock.monotonicMs();
    return state.pending.filter(({ createdMonotonicMs }) => nowMs - createdMonotonicMs < PENDING_KEY_LIFE_MS);
  }

  #dropExpired(state: ModuleState): void {
    const alive = new Set(this.#alive(state));
    for (const pending of state.pending.filter((key) => !alive.has(key))) this.#destroyPending(state, pending.keyId);
  }

  async #newKey(state: ModuleState): Promise<Buffer> {
    const { store, clock } = this.#options;
    while (state.leftovers.length > 0) {
      state.module.destroy(state.leftovers[0]!);
      state.leftovers.shift();
    }
    this.#dropExpired(state);
    while (state.pending.length >= MAX_PENDING_KEYS) this.#destroyPending(state, state.pending[0]!.keyId);
    const keyId = newKeyId();
    // Known before it exists: a crash in between leaves a row without a key, which the next scan removes.
    store.addPendingKey({ type: state.module.type, keyId, createdAtMs: clock.now().getTime() });
    state.pending.push({ keyId, createdMonotonicMs: clock.monotonicMs() });
    try {
      this.#making = state.module.createKey(keyId);
      await this.#making;
    } catch (error) {
      this.#giveUpKey(state, keyId);
      throw error;
    }
    return keyId;
  }

  /** Nothing of a key that could not be made stays in the token: now, or before the next key is made. */
  #giveUpKey(state: ModuleState, keyId: Buffer): void {
    this.#forgetPending(state, keyId);
    try {
      state.module.destroy(keyId);
    } catch (error) {
      state.leftovers.push(keyId);
      this.#options.logger.warn(
        { type: state.module.type, error: asAosError(error).message },
        'what is left of a key could not be removed; it goes before the next one is made',
      );
    }
  }

  #destroyPending(state: ModuleState, keyId: Buffer): void {
    state.module.destroy(keyId);
    this.#forgetPending(state, keyId);
  }

  #forgetPending(state: ModuleState, keyId: Buffer): void {
    this.#options.store.removePendingKey(keyId);
    state.pending = state.pending.filter((pending) => !pending.keyId.equals(keyId));
  }

  /** The row of exactly this certificate, when its objects are still in the token. */
  #knownRecord({ module }: ModuleState, leaf: X509Certificate): CertificateRecord | undefined {
    const { issuer, serial } = names(leaf);
    const key = publicKeyOf(leaf);
    return this.#options.store
      .certificates(module.type)
      .filter((record) => record.issuer.equals(issuer) && record.serial.equals(serial))
      .find((record) => module.publicKey(record.keyId)?.equals(key) && module.hasCertificate(record));
  }

  #pendingOf(state: ModuleState, leaf: X509Certificate): Pending {
    const wanted = publicKeyOf(leaf);
    const pending = this.#alive(state).find(({ keyId }) => state.module.publicKey(keyId)?.equals(wanted));
    if (pending) return pending;
    throw new AosError(
      'notFound',
      `the certificate belongs to no waiting key of type "${state.module.type}"; create a new key and request`,
    );
  }

  #judge(type: string, chain: Chain): void {
    const complaint = this.#options.judgeChain(chain);
    if (complaint === undefined) return;
    if (this.#options.strictChain) throw new AosError('invalidArgument', complaint);
    this.#options.logger.warn({ type, complaint }, 'a certificate is applied that this unit does not trust');
  }

  #store(state: ModuleState, chain: Chain, keyId: Buffer): CertificateRecord {
    const { store, logger } = this.#options;
    const { module } = state;
    const rows = store.certificates(module.type);
    for (const evicted of chooseEvicted(rows, module.config.maxItems)) {
      logger.info({ type: module.type, serial: evicted.serial.toString('hex') }, 'the oldest certificate makes room');
      module.destroy(evicted.keyId);
      store.changeCertificates([evicted], []);
    }
    module.import(chain, keyId);
    const record = module.recordOf(chain.leaf, keyId);
    store.changeCertificates([], [record]);
    state.pending = state.pending.filter((pending) => !pending.keyId.equals(keyId));
    if (currentRecord(store.certificates(module.type))?.keyId.equals(keyId) === false) {
      logger.warn(
        { type: module.type, serial: record.serial.toString('hex'), notAfter: chain.leaf.validTo },
        'the certificate is stored but not used: another one is valid longer',
      );
    }
    this.#notify(module.type);
    return record;
  }

  async #makeSelfSigned(state: ModuleState): Promise<void> {
    const keyId = await this.#newKey(state);
    const leaf = state.module.selfSigned(keyId, this.#options.clock.now());
    this.#store(state, { leaf, issuers: [] }, keyId);
  }

  #notify(type: string): void {
    const current = currentRecord(this.#options.store.certificates(type));
    if (!current) return;
    for (const subscription of this.#subscriptions) {
      if (subscription.type !== type || subscription.current.certUrl === current.certUrl) continue;
      subscription.current = current;
      try {
        subscription.listener(current);
      } catch (error) {
        this.#options.logger.error({ type, error: asAosError(error).message }, 'a listener to certificates failed');
      }
    }
  }
}

function goneError({ name }: KeyPlace): AosError {
  return new AosError(
    'notFound',
    `${name} with the keys of this node is gone or was wiped; bring it back, or deprovision the node`,
  );
}

/** A random UUID as 16 raw bytes. */
function newKeyId(): Buffer {
  const id = randomBytes(16);
  id[6] = (id[6]! & 0x0f) | 0x40;
  id[8] = (id[8]! & 0x3f) | 0x80;
  return id;
}

function trimLeadingZeros(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  return Buffer.from(bytes.subarray(start));
}

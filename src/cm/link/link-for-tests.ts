/** Links with quick numbers, for tests. */
import { type Logger, silentLogger } from '../../core/index.ts';
import type { CertificateUrls, CredentialSource } from '../../daemon/index.ts';
import type { TestIdentity } from '../../storage/certificates-for-tests.ts';
import { SYSTEM_ID } from './cloud-for-tests.ts';
import { CloudLink, type CloudLinkOptions } from './cloud-link.ts';
import type { OutboxStore, StoredMessage } from './outbox-store.ts';

/** Keeps messages as long as the test lives. */
export class MemoryOutboxStore implements OutboxStore {
  readonly messages = new Map<string, StoredMessage>();

  load(): StoredMessage[] {
    return [...this.messages.values()];
  }

  put(message: StoredMessage, replaced: readonly string[]): void {
    this.remove(replaced);
    this.messages.set(message.txn, message);
  }

  remove(txns: readonly string[]): void {
    for (const txn of txns) this.messages.delete(txn);
  }
}

/** Certificates that a test can change. */
export class TestCredentials implements CredentialSource {
  #identity: TestIdentity | undefined;
  readonly #listeners = new Set<(urls: CertificateUrls) => void>();

  constructor(identity?: TestIdentity) {
    this.#identity = identity;
  }

  urls(): never {
    throw new Error('not asked for');
  }

  async identity() {
    if (!this.#identity) throw new Error('there is no certificate');
    const { pem, privateKey } = this.#identity;
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    return { certificateChain: pem, key: { kind: 'pem' as const, pem: key } };
  }

  onChange(_: string, listener: (urls: CertificateUrls) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  change(identity: TestIdentity): void {
    this.#identity = identity;
    for (const listener of this.#listeners) listener({ type: 'online', certUrl: '', keyUrl: '' });
  }
}

/** Everything that a person waits for in life takes a moment here. */
export const QUICK = {
  reconnectFirstMs: 5,
  reconnectMaxMs: 20,
  afterLossMaxMs: 5,
  openingTimeoutMs: 5000,
  renewAfterMs: 1,
  renewAtLatestMs: 100,
};

export function makeLink(discoveryUrl: string, options: Partial<CloudLinkOptions> = {}): CloudLink {
  return new CloudLink({
    systemId: SYSTEM_ID,
    discovery: { serviceDiscoveryUrl: discoveryUrl, overrideServiceDiscoveryUrl: '' },
    ca: '',
    credentials: new TestCredentials(),
    store: new MemoryOutboxStore(),
    cloudResponseWaitTimeoutMs: 10_000,
    logger: silentLogger,
    ...options,
    numbers: { ...QUICK, ...options.numbers },
  });
}

/** The texts of a log, with the error that stands beside them. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (fields: object, message: string) => {
    const { error } = fields as { error?: string };
    lines.push(error ? `${message}: ${error}` : message);
  };
  const logger: Logger = {
    trace: write,
    debug: write,
    info: write,
    warn: write,
    error: write,
    child: () => logger,
  };
  return { logger, lines };
}

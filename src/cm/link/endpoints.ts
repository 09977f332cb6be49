/** Which address of the cloud is tried next (spec/cloud-protocol.md 2.5, spec/decisions.md C-09, C-10). */
import type { SecureContextOptions } from 'node:tls';
import { identityOptions, type TlsIdentity } from '../../api/index.ts';
import { AosError, asAosError, canceledBy, type Logger } from '../../core/index.ts';
import type { CredentialSource } from '../../daemon/index.ts';
import { askDiscovery } from './ask-discovery.ts';
import { certificateNames } from './certificate-names.ts';
import { type DiscoveryConfig, discoveryUrls, webSocketUrl } from './discovery.ts';
import type { LinkNumbers } from './model.ts';
import { withoutRoot } from './without-root.ts';

/** The type of certificate that is shown to the cloud. */
export const ONLINE = 'online';

export interface Endpoint {
  readonly url: string;
  readonly token: string;
  readonly tls: SecureContextOptions;
}

/** The cloud wants us to come back later. */
export class RepeatLater extends AosError {
  readonly delayMs: number;

  constructor(because: string, delayMs: number) {
    super('failed', because);
    this.delayMs = delayMs;
  }
}

export interface EndpointsOptions {
  readonly systemId: string;
  readonly discovery: DiscoveryConfig;
  /** PEM of the only roots that the cloud may chain to. */
  readonly ca: string;
  readonly credentials: Pick<CredentialSource, 'identity'>;
  readonly numbers: LinkNumbers;
  readonly logger: Logger;
}

export class Endpoints {
  readonly #options: EndpointsOptions;
  #urls: string[] = [];
  #token = '';
  /** Which address of discovery is asked next. */
  #next = 0;
  /** First delay of the back-off that the cloud asked for, in milliseconds; 0: none. */
  nextRequestDelayMs = 0;
  /** Whether the cloud offers deltas of blobs. */
  offersDeltas = false;

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  /** Whether an earlier answer of discovery still names an address. */
  get known(): boolean {
    return this.#urls.length > 0;
  }

  /** The address to connect to; asks discovery when none is known. Throws what a failed attempt is. */
  async current(signal: AbortSignal): Promise<Endpoint> {
    if (!this.known) await this.#discover(signal);
    const url = webSocketUrl(this.#urls[0]!);
    return { url, token: this.#token, tls: url.startsWith('wss:') ? await this.#tls(signal) : {} };
  }

  /** The address did not work; the next one is tried. */
  drop(): void {
    this.#urls.shift();
  }

  /** The token is not valid any more: the whole answer of discovery is forgotten. */
  forget(): void {
    this.#urls = [];
    this.#token = '';
  }

  async #discover(signal: AbortSignal): Promise<void> {
    const { systemId, discovery, numbers } = this.#options;
    const { names, unreadable } = await this.#names(signal);
    const candidates = discoveryUrls(discovery, names);
    if (candidates.length === 0) {
      const certificate = unreadable === undefined ? 'names none' : `cannot be read (${unreadable})`;
      throw new AosError(
        'invalidArgument',
        `no address of service discovery: the certificate ${certificate} and serviceDiscoveryUrl is not an HTTP address`,
      );
    }
    const url = candidates[this.#next % candidates.length]!;
    // Only an answer that can be used, now or later, keeps this address in its place.
    this.#next = (this.#next + 1) % candidates.length;
    const answer = await askDiscovery(url, { systemId, numbers, signal, tls: () => this.#tls(signal) });
    if (answer.do === 'connect' || answer.again) this.#next = candidates.indexOf(url);
    if (answer.do === 'wait') throw new RepeatLater(answer.because, answer.delayMs);
    this.#urls = [...answer.urls];
    this.#token = answer.token;
    this.offersDeltas = answer.offersDeltas;
    if (answer.nextRequestDelayMs > 0) this.nextRequestDelayMs = answer.nextRequestDelayMs;
  }

  /** What the certificate says; one that cannot be read never blocks the other addresses. */
  async #names(signal: AbortSignal): Promise<{ names?: ReturnType<typeof certificateNames>; unreadable?: string }> {
    try {
      const { certificateChain } = await this.#identity(signal);
      return { names: certificateNames(certificateChain) };
    } catch (error) {
      if (signal.aborted) throw canceledBy(signal);
      const { message } = asAosError(error);
      this.#options.logger.warn(
        { error: message },
        'the online certificate cannot be read; it names no address of discovery',
      );
      return { unreadable: message };
    }
  }

  async #tls(signal: AbortSignal): Promise<SecureContextOptions> {
    const identity = await this.#identity(signal);
    const certificateChain = withoutRoot(identity.certificateChain);
    return { ...identityOptions({ ...identity, certificateChain }), ca: this.#options.ca };
  }

  /** IAM may be slow; a link that stops does not wait for it. */
  async #identity(signal: AbortSignal): Promise<TlsIdentity> {
    let abort: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(canceledBy(signal));
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort, { once: true });
    });
    try {
      return await Promise.race([this.#options.credentials.identity(ONLINE), aborted]);
    } finally {
      if (abort) signal.removeEventListener('abort', abort);
    }
  }
}

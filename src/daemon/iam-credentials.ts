/** `CredentialSource` over IAM's public certificate service; certificates and keys from tokens or files. */
import { readFileSync } from 'node:fs';
import { iam } from '../api/contracts.ts';
import type { ClientTls, TlsIdentity } from '../api/index.ts';
import { asCallError, Channel, UNARY_DEADLINE_MS } from '../api/index.ts';
import { AosError, asAosError, type Clock, isAosError, type Logger, systemClock } from '../core/index.ts';
import {
  DEFAULT_PKCS11_LIBRARY,
  engineUri,
  loadPkcs11,
  openTokenOf,
  type Pkcs11Library,
  parseObjectUrl,
  RefusedPins,
  readChain,
  type TokenSession,
  type TokenUrl,
  toPem,
} from '../platform/token/index.ts';
import type { CertificateUrls, CredentialSource } from './credentials.ts';

/** Pause before a subscription that ended, or was refused because no certificate exists, is opened again. */
const SUBSCRIPTION_RETRY_MS = 10_000;
/** The same when it had worked: IAM restarts its servers within a second (spec/decisions.md 7.3). */
const SUBSCRIPTION_REOPEN_MS = 1_000;

type Listener = (urls: CertificateUrls) => void;

export interface IamCredentialsOptions {
  /** `host:port` of IAM's public server. */
  readonly publicAddress: string;
  /** PEM file with the roots that IAM's certificate must chain to. */
  readonly caFile: string;
  readonly checkHostName?: boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /**
   * Told when a token that could be used does not hold what IAM says: some libraries read a token once, when they are
   * loaded, and none takes up a token again that was gone. Only a new process mends it.
   */
  readonly onStaleToken?: (reason: string) => void;
  /** Loads a PKCS#11 library; default: the real one, on first use. */
  readonly loadLibrary?: (path: string) => Pkcs11Library;
}

export class IamCredentials implements CredentialSource {
  readonly #options: IamCredentialsOptions;
  readonly #clock: Clock;
  readonly #channel: Channel;
  readonly #libraries = new Map<string, Pkcs11Library>();
  /** Across connections, each of which asks for the key anew. */
  readonly #refusedPins = new RefusedPins();
  /** One subscription for each type of certificate, however many listen. */
  readonly #followed = new Map<string, { readonly listeners: Set<Listener>; readonly ended: AbortController }>();
  /** Whether a key in a token was handed out: the TLS engine of this process has its library open from then on. */
  #isEngineInUse = false;
  #hasAskedForNewProcess = false;

  constructor(options: IamCredentialsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#channel = new Channel({ address: options.publicAddress, tls: this.serverTls() });
    options.signal.addEventListener('abort', () => this.#channel.close(), { once: true });
  }

  /** TLS towards IAM's public server: its certificate is checked, none is shown. */
  serverTls(): ClientTls {
    const { caFile, checkHostName } = this.#options;
    try {
      return { ca: readFileSync(caFile, 'utf8'), ...(checkHostName === undefined ? {} : { checkHostName }) };
    } catch (error) {
      throw asAosError(error, `cannot read "caCert" ${caFile}`);
    }
  }

  /** The channel to IAM's public server, for the other public services. */
  get channel(): Channel {
    return this.#channel;
  }

  async urls(type: string, issuer?: Uint8Array, serial?: string): Promise<CertificateUrls> {
    const client = this.#channel.client(iam.IAMPublicCertService);
    try {
      const answer = await client.getCert(
        { type, issuer: issuer ? new Uint8Array(issuer) : new Uint8Array(), serial: serial ?? '' },
        { timeoutMs: UNARY_DEADLINE_MS, signal: this.#options.signal },
      );
      return { type, certUrl: answer.certUrl, keyUrl: answer.keyUrl };
    } catch (error) {
      throw asCallError(error, `cannot ask IAM at ${this.#options.publicAddress} for the certificate "${type}"`);
    }
  }

  async identity(type: string): Promise<TlsIdentity> {
    const urls = await this.urls(type);
    try {
      const identity = this.#loadTwice(urls);
      this.#isEngineInUse ||= identity.key.kind === 'token';
      return identity;
    } catch (error) {
      const failure = asAosError(error, `cannot use the certificate "${type}"`);
      if (this.#isEngineInUse && !this.#hasAskedForNewProcess) {
        // Once: if it does not come, asking again would not bring it.
        this.#hasAskedForNewProcess = true;
        this.#options.onStaleToken?.(failure.message);
      }
      throw failure;
    }
  }

  onChange(type: string, listener: Listener): () => void {
    let followed = this.#followed.get(type);
    if (!followed) {
      const listeners = new Set<Listener>();
      followed = { listeners, ended: new AbortController() };
      this.#followed.set(type, followed);
      const signal = AbortSignal.any([followed.ended.signal, this.#options.signal]);
      const tell: Listener = (urls) => {
        for (const one of listeners) one(urls);
      };
      void this.#follow(type, tell, signal);
    }
    const { listeners, ended } = followed;
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#followed.get(type)?.ended !== ended) return;
      this.#followed.delete(type);
      ended.abort();
    };
  }

  async #follow(type: string, listener: Listener, signal: AbortSignal): Promise<void> {
    const client = this.#channel.client(iam.IAMPublicCertService);
    let known: CertificateUrls | undefined;
    const news = (urls: CertificateUrls) => {
      const changed = known !== undefined && (known.certUrl !== urls.certUrl || known.keyUrl !== urls.keyUrl);
      known = urls;
      if (changed) listener(urls);
    };
    while (!signal.aborted) {
      let pauseMs = SUBSCRIPTION_RETRY_MS;
      const attempt = new AbortController();
      try {
        const stream = client.subscribeCertChanged({ type }, { signal: AbortSignal.any([signal, attempt.signal]) });
        const messages = stream[Symbol.asyncIterator]();
        const first = messages.next();
        // First subscribed, then asked: a change between the two is not lost (IA-20).
        news(await Promise.race([this.urls(type), first.then(() => this.urls(type))]));
        pauseMs = SUBSCRIPTION_REOPEN_MS;
        for (let next = await first; !next.done; next = await messages.next()) {
          news({ type, certUrl: next.value.certUrl, keyUrl: next.value.keyUrl });
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.debug(
          { type, error: asCallError(error, 'the subscription ended').message },
          'the subscription to certificate changes is opened again',
        );
      } finally {
        // It may be open still, when nothing but the question failed; IAM has room for so many.
        attempt.abort();
      }
      await this.#clock.sleep(pauseMs, signal).catch(() => ended(signal));
    }
  }

  /**
   * Tries twice. SoftHSM fails to read a token that another process is writing just then, and misses it for good when
   * that happens while it is initialised; so the library is opened anew, as long as nothing in this process lives on it.
   */
  #loadTwice(urls: CertificateUrls): TlsIdentity {
    try {
      return this.#load(urls);
    } catch (error) {
      // A wrong PIN is not tried again: tokens lock themselves.
      if (isAosError(error, 'wrongState')) throw error;
      if (!this.#isEngineInUse) {
        for (const library of this.#libraries.values()) library.close();
        this.#libraries.clear();
      }
      return this.#load(urls);
    }
  }

  #load({ certUrl, keyUrl }: CertificateUrls): TlsIdentity {
    const certificate = parseObjectUrl(certUrl);
    const key = parseObjectUrl(keyUrl);
    const chain = () =>
      certificate.kind === 'file'
        ? readFileSync(certificate.path, 'utf8')
        : this.#withToken(certificate, (session) => toPem(readChain(session, certificate)));
    if (key.kind === 'file') {
      return { certificateChain: chain(), key: { kind: 'pem', pem: readFileSync(key.path, 'utf8') } };
    }
    // Within the session of the key: as long as it is open, the token asks for no second login, which takes its time.
    return this.#withToken(key, (_, pin) => ({
      certificateChain: chain(),
      key: { kind: 'token', uri: engineUri(key, pin) },
    }));
  }

  /** Opens the token of a URL; a PIN that does not fit is found out here, not in a failing TLS handshake. */
  #withToken<T>(url: TokenUrl, use: (session: TokenSession, pin: string | undefined) => T): T {
    const path = url.modulePath ?? DEFAULT_PKCS11_LIBRARY;
    let library = this.#libraries.get(path);
    if (!library) {
      library = (this.#options.loadLibrary ?? loadPkcs11)(path);
      this.#libraries.set(path, library);
    }
    const { session, pin } = openTokenOf(library, url, this.#refusedPins);
    try {
      return use(session, pin);
    } finally {
      session.close();
    }
  }
}

/** A wait that ended because nobody listens any more. */
function ended(signal: AbortSignal): void {
  if (!signal.aborted) throw new AosError('failed', 'the wait ended by itself');
}

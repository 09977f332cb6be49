/** The certificate that the CM's server shows, also after it was renewed (spec/cm.md 7.6, spec/decisions.md C-63). */
import { X509Certificate } from 'node:crypto';
import type { ServerTls } from '../api/index.ts';
import { asAosError, type Clock, type Logger } from '../core/index.ts';
import type { CredentialSource } from '../daemon/index.ts';
import { namesOfCertificate } from './images/index.ts';

const RETRY_MS = 10_000;

export interface ServerCredentialsOptions {
  readonly credentials: CredentialSource;
  readonly certType: string;
  /** PEM of the only roots that clients may chain to. */
  readonly ca: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class ServerCredentials {
  readonly #options: ServerCredentialsOptions;
  #tls: ServerTls | undefined;
  #names: readonly string[] = [];
  #end: (() => void) | undefined;

  constructor(options: ServerCredentialsOptions) {
    this.#options = options;
  }

  /** Throws when the certificate is not there. */
  async load(): Promise<ServerTls> {
    const { credentials, certType, ca } = this.#options;
    const identity = await credentials.identity(certType);
    this.#names = namesOfCertificate(new X509Certificate(identity.certificateChain).subjectAltName);
    this.#tls = { identity, ca, clientCertificate: 'required' };
    return this.#tls;
  }

  /** Names that the certificate is valid for. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Hands over each new certificate as soon as it can be used. */
  watch(replace: (tls: ServerTls) => void): void {
    const { credentials, certType } = this.#options;
    this.#end = credentials.onChange(certType, () => void this.#renew(replace));
  }

  stop(): void {
    this.#end?.();
  }

  async #renew(replace: (tls: ServerTls) => void): Promise<void> {
    const { clock, logger, signal } = this.#options;
    while (!signal.aborted) {
      try {
        replace(await this.load());
        logger.info({}, 'the server shows the new certificate');
        return;
      } catch (error) {
        logger.warn({ error: asAosError(error).message }, 'the new certificate cannot be used yet');
      }
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }
}

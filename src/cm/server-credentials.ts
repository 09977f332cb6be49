/** The certificate that the CM shows to SMs and to IAM, also after it was renewed (spec/cm.md 7.6, spec/decisions.md C-63). */
import { X509Certificate } from 'node:crypto';
import type { ServerTls } from '../api/index.ts';
import { AosError, asAosError, type Clock, type Logger } from '../core/index.ts';
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

  /** Asks IAM and the token. Throws when the certificate is not there. */
  async load(): Promise<void> {
    const { credentials, certType, ca } = this.#options;
    const identity = await credentials.identity(certType);
    this.#names = namesOfCertificate(new X509Certificate(identity.certificateChain).subjectAltName);
    this.#tls = { identity, ca, clientCertificate: 'required' };
  }

  /** As it was loaded last. Throws `wrongState` when it never was. */
  get tls(): ServerTls {
    if (!this.#tls) throw new AosError('wrongState', 'IAM has not told the certificate of the CM yet');
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
        await this.load();
        replace(this.tls);
        logger.info({}, 'the server shows the new certificate');
        return;
      } catch (error) {
        logger.warn({ error: asAosError(error).message }, 'the new certificate cannot be used yet');
      }
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }
}

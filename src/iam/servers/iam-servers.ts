/** The two gRPC servers of IAM (spec/iam.md 12). */
import { ApiServer, type ServerTls, type TlsIdentity } from '../../api/index.ts';
import { asAosError, type Logger } from '../../core/index.ts';
import type { CertificateHandler } from '../certificates/certificate-handler.ts';
import type { IamConfig } from '../config/iam-config.ts';
import { CLOSE_OLD_STREAMS_MS } from '../limits.ts';
import { protectedServices } from './protected-services.ts';
import { publicServices } from './public-services.ts';
import { refuseClient } from './refuse-client.ts';
import type { Services } from './services.ts';

export interface IamServersOptions {
  readonly publicListen: string;
  readonly protectedListen: string;
  readonly services: Services;
  readonly logger: Logger;
  /** Absent in provisioning mode: both servers speak plain text. */
  readonly tls?: {
    /** PEM of the roots that clients chain to. */
    readonly ca: string;
    /** Type of the certificate that both servers show. */
    readonly certStorage: string;
    readonly certificates: CertificateHandler;
    /** Told when the library of the token does not show this process what is in it; a new process sees it. */
    readonly onStaleToken: (reason: string) => void;
    /** Which clients may use which services of the protected server. */
    readonly authorization: IamConfig['authorization'];
  };
}

/** After the streams have ended in order, for whoever does not take the hint. */
const GRACE_MS = 300;

export class IamServers {
  readonly #options: IamServersOptions;
  #servers: readonly ApiServer[] = [];
  #unsubscribe: (() => void) | undefined;
  #closing: NodeJS.Timeout | undefined;

  private constructor(options: IamServersOptions) {
    this.#options = options;
  }

  /** Listens on both ports; in normal mode a missing certificate is an error. */
  static async open(options: IamServersOptions): Promise<IamServers> {
    const result = new IamServers(options);
    try {
      await result.#open();
    } catch (error) {
      await result.stop();
      throw error;
    }
    return result;
  }

  async #open(): Promise<void> {
    const { services, logger, tls } = this.#options;
    const identity = tls?.certificates.identity(tls.certStorage);
    const open = (listen: string, kind: 'public' | 'protected') =>
      ApiServer.open({
        listen,
        logger: logger.child({ server: kind }),
        ...(identity ? { tls: this.#tlsOf(identity, kind) } : {}),
        ...(tls && kind === 'protected' && Object.keys(tls.authorization).length > 0
          ? { authorize: (service, names) => refuseClient(tls.authorization, service, names) }
          : {}),
        routes: (router) => {
          publicServices(router, services, kind);
          if (kind === 'protected') protectedServices(router, services);
        },
      });
    this.#servers = [await open(this.#options.publicListen, 'public')];
    this.#servers = [...this.#servers, await open(this.#options.protectedListen, 'protected')];
    this.#unsubscribe = tls?.certificates.subscribe(tls.certStorage, () => this.#replace());
  }

  /** Ends all streams in order, then frees the ports. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    clearTimeout(this.#closing);
    this.#options.services.stop();
    this.#options.services.parts.main?.links.close();
    // One turn of the loop, in which the ends of the streams leave.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(this.#servers.map((server) => server.close()));
  }

  #tlsOf(identity: TlsIdentity, kind: 'public' | 'protected'): ServerTls {
    return { identity, ca: this.#options.tls!.ca, clientCertificate: kind === 'protected' ? 'required' : 'none' };
  }

  /**
   * New connections see the new certificate at once; old streams end a second later, so that the answer to the call
   * that brought the certificate has left (spec/decisions.md C-63).
   */
  #replace(): void {
    const { tls, services, logger } = this.#options;
    try {
      const identity = tls!.certificates.identity(tls!.certStorage);
      const [publicServer, protectedServer] = this.#servers;
      publicServer!.replaceTls(this.#tlsOf(identity, 'public'), CLOSE_OLD_STREAMS_MS + GRACE_MS);
      protectedServer!.replaceTls(this.#tlsOf(identity, 'protected'), CLOSE_OLD_STREAMS_MS + GRACE_MS);
    } catch (error) {
      const { message } = asAosError(error);
      logger.error({ error: message }, 'the new certificate cannot be used by this process; starting over');
      this.#closing = setTimeout(() => tls!.onStaleToken(message), CLOSE_OLD_STREAMS_MS);
      return;
    }
    const endOldStreams = services.streams.renew();
    this.#closing = setTimeout(endOldStreams, CLOSE_OLD_STREAMS_MS);
    logger.info({ type: tls!.certStorage }, 'the servers show the new certificate');
  }
}

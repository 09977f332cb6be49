/**
 * Node.js since 24.21 takes the certificates above that of a client, which the client has shown too, away from OpenSSL,
 * which would free them, and frees them never (nodejs/node#65579): 9 KiB of each connection that ever was.
 */
import type { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';

/** What a TLSSocket stands on, and whom Node asks whether a client has shown a certificate. */
interface Handle {
  getPeerCertificate(): unknown;
  getPeerX509Certificate?(): unknown;
}

/**
 * Lets Node find out by a call that takes nothing away, for all servers of the process, once one has its first connection.
 * `TLSSocket.getPeerX509Certificate()` is of no use then; `getPeerCertificate()` says the same.
 */
export function keepPeerChains(server: EventEmitter): void {
  server.once('secureConnection', (socket: TLSSocket) => {
    const { _handle: handle } = socket as TLSSocket & { readonly _handle?: Handle | null };
    if (!handle?.getPeerX509Certificate) return;
    const calls = Object.getPrototypeOf(handle) as Handle;
    calls.getPeerX509Certificate = calls.getPeerCertificate;
  });
}

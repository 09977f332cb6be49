/** TLS inside of a channel: the proxy is server and wants a certificate, the peer is client (spec/mp.md 7.1). */
import tls, { type TLSSocket } from 'node:tls';
import { identityOptions, keepPeerChains, type TlsIdentity } from '../../api/index.ts';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import { HANDSHAKE_TIMEOUT_MS } from '../numbers.ts';
import type { ChannelStream } from './channel-stream.ts';

export interface ChannelTls {
  readonly identity: TlsIdentity;
  /** PEM of the only roots that the other side may chain to. Names are not checked. */
  readonly ca: string;
}

const VERSION = { minVersion: 'TLSv1.2' } as const;

/** Answers the handshake of a peer. Throws what was wrong with it; the channel is destroyed then. */
export function acceptTls(
  channel: ChannelStream,
  { identity, ca }: ChannelTls,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const server = tls.createServer({
    ...identityOptions(identity),
    ...VERSION,
    ca,
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  keepPeerChains(server);
  return settle(channel, signal, (done, fail) => {
    server.once('secureConnection', done);
    server.once('tlsClientError', (error) => fail(error));
    // Documented for streams that come from elsewhere.
    server.emit('connection', channel);
  });
}

/** Begins a session with the proxy. Throws what was wrong with it; the channel is destroyed then. */
export function connectTls(
  channel: ChannelStream,
  { identity, ca }: ChannelTls,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return settle(channel, signal, (done, fail) => {
    const socket = tls.connect({
      ...identityOptions(identity),
      ...VERSION,
      ca,
      socket: channel,
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
    });
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.off('error', fail);
      done(socket);
    });
  });
}

async function settle(
  channel: ChannelStream,
  signal: AbortSignal,
  begin: (done: (socket: TLSSocket) => void, fail: (error: unknown) => void) => void,
): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const fail = (error: unknown) => reject(asAosError(error, `TLS on port ${channel.port}`));
  const onAbort = () => reject(canceledBy(signal));
  const onClose = () => fail(channel.errored ?? new AosError('eof', 'the channel was closed during the handshake'));
  const timer = setTimeout(
    () => fail(new AosError('timeout', `no handshake within ${HANDSHAKE_TIMEOUT_MS / 1000} s`)),
    HANDSHAKE_TIMEOUT_MS,
  );
  signal.addEventListener('abort', onAbort, { once: true });
  channel.once('close', onClose);
  try {
    if (signal.aborted) throw canceledBy(signal);
    begin(resolve, fail);
    const socket = await promise;
    // Whoever reads or writes hears of the end.
    socket.on('error', () => undefined);
    return socket;
  } catch (error) {
    // The alert that says why has to leave first.
    setImmediate(() => channel.destroy());
    throw asAosError(error);
  } finally {
    clearTimeout(timer);
    channel.off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  }
}

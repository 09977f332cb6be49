/** The peer's end of the channel that `bench/proxy.ts` measures: a process of its own, as on a node behind the proxy. */
import { silentLogger, systemClock } from '../src/core/index.ts';
import { TcpConnector } from '../src/mp/transport/tcp.ts';
import { connectTls, MessageChannel, Multiplexer } from '../src/mp/wire/index.ts';
import type { TestTls } from '../src/mp/wire/pair-for-tests.ts';

export interface PeerOrder {
  readonly port: number;
  readonly tls: TestTls;
  readonly totalBytes: number;
}

process.once('message', async ({ port, tls, totalBytes }: PeerOrder) => {
  const never = new AbortController().signal;
  const stream = await new TcpConnector(`127.0.0.1:${port}`).next(never);
  const ports = [{ port: 4, secure: true }];
  const multiplexer = new Multiplexer({ ports, clock: systemClock, logger: silentLogger, stream, side: 'client' });
  const channel = multiplexer.open(4);
  const session = await connectTls(channel, { identity: tls.peer, ca: tls.ca }, never);
  process.send!('ready');
  let received = 0;
  for await (const message of new MessageChannel(channel, silentLogger, session).messages()) {
    received += message.length;
    if (received >= totalBytes) break;
  }
  process.send!('received', () => process.exit(0));
});

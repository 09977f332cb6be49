/** The transport that the configuration asks for (spec/mp.md 5, spec/decisions.md 3.4). */
import type { Logger } from '../../core/index.ts';
import type { MpConfig } from '../config.ts';
import { HelperTransport } from './helper.ts';
import { TcpConnector, TcpListener } from './tcp.ts';
import type { Transport } from './transport.ts';

/** Throws the system's error when the port is taken. A helper is started with the first connection. */
export async function openTransport(config: MpConfig, logger: Logger): Promise<Transport> {
  const { mode, transport, peer, vchan } = config;
  if (transport.helper) {
    const env = {
      AOS_MP_MODE: mode,
      AOS_VCHAN_DOMAIN: String(vchan.domain),
      AOS_VCHAN_RX_PATH: vchan.xsRxPath,
      AOS_VCHAN_TX_PATH: vchan.xsTxPath,
    };
    return new HelperTransport({ command: transport.helper, env, waitsForPeer: mode === 'proxy', logger });
  }
  return mode === 'proxy' ? TcpListener.open(transport.listen) : new TcpConnector(peer.proxyUrl);
}

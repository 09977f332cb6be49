/** Both ends of a connection in one process, and certificates for them. */
import { duplexPair } from 'node:stream';
import type { TlsIdentity } from '../../api/index.ts';
import { silentLogger, systemClock } from '../../core/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { Multiplexer, type PortOptions } from './multiplexer.ts';

export const TEST_PORTS: readonly PortOptions[] = [
  { port: 1, secure: false },
  { port: 2, secure: true },
  { port: 5, secure: true, background: true },
];

export function connectedPair(ports: readonly PortOptions[] = TEST_PORTS) {
  const [one, other] = duplexPair();
  const common = { ports, clock: systemClock, logger: silentLogger };
  return {
    server: new Multiplexer({ ...common, stream: one, side: 'server' }),
    client: new Multiplexer({ ...common, stream: other, side: 'client' }),
    /** What the client writes to, for bytes that no multiplexer would send. */
    raw: other,
  };
}

export const identityOf = ({ pem, privateKey }: TestIdentity): TlsIdentity => ({
  certificateChain: pem,
  key: { kind: 'pem', pem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() },
});

export interface TestTls {
  readonly ca: string;
  readonly proxy: TlsIdentity;
  readonly peer: TlsIdentity;
  /** Not signed by the root itself. */
  readonly distant: TlsIdentity;
  /** Of another root. */
  readonly stranger: TlsIdentity;
}

export async function makeTestTls(): Promise<TestTls> {
  const root = await makeCertificate('root', { ca: true });
  const middle = await makeCertificate('middle', { ca: true, issuer: root });
  const distant = identityOf(await makeCertificate('distant', { issuer: middle }));
  const other = await makeCertificate('other', { ca: true });
  return {
    ca: root.pem,
    proxy: identityOf(await makeCertificate('proxy', { issuer: root })),
    peer: identityOf(await makeCertificate('peer', { issuer: root })),
    distant: { ...distant, certificateChain: `${distant.certificateChain}\n${middle.pem}` },
    stranger: identityOf(await makeCertificate('stranger', { issuer: other })),
  };
}

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { makeCertificate, type TestIdentity } from '../storage/certificates-for-tests.ts';
import { ApiServer } from './serve.ts';

const keyOf = ({ privateKey }: TestIdentity) => privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

/** Servers of the same keys know each other's session. */
const KEYS = Buffer.alloc(48, 7);

const clients: TLSSocket[] = [];
let ca: string;
let own: { readonly cert: string; readonly key: string };

beforeAll(async () => {
  const root = await makeCertificate('root', { ca: true });
  const middle = await makeCertificate('middle', { ca: true, issuer: root });
  const leaf = await makeCertificate('leaf', { issuer: middle, dnsName: 'localhost' });
  ca = root.pem;
  own = { cert: `${leaf.pem}\n${middle.pem}`, key: keyOf(leaf) };
  const server = await ApiServer.open({
    listen: '127.0.0.1:0',
    routes: () => undefined,
    logger: silentLogger,
    tls: {
      identity: { certificateChain: own.cert, key: { kind: 'pem', pem: own.key } },
      ...{ ca, clientCertificate: 'required' as const },
    },
  });
  const client = connect({ ...own, ca, port: server.address.port, servername: 'localhost', ALPNProtocols: ['h2'] });
  // The first word of the server: it has looked at the certificate.
  await once(client, 'data');
  client.destroy();
  await server.close();
});

afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
});

/** What another server of this process sees of a client, and the session that it lets the client go on with. */
async function accept(shows: object): Promise<{ readonly accepted: TLSSocket; readonly session: Promise<Buffer> }> {
  const server = createServer({ ...own, ca, ticketKeys: KEYS, requestCert: true, rejectUnauthorized: false });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ ...shows, ca, port, host: '127.0.0.1', servername: 'localhost' });
  client.resume();
  clients.push(client);
  const session = new Promise<Buffer>((resolve) => client.once('session', resolve));
  const [accepted] = (await once(server, 'secureConnection')) as [TLSSocket];
  accepted.on('error', () => undefined);
  server.close();
  return { accepted, session };
}

test('what a client shows above its certificate stays with the connection, to be freed with it', async () => {
  const { accepted } = await accept(own);
  expect(accepted.authorized).toBe(true);
  expect(accepted.getPeerCertificate(true).issuerCertificate?.subject.CN).toBe('middle');
});

test('a client that shows no certificate is not authorized, nor when it goes on with a session', async () => {
  const { accepted, session } = await accept({});
  expect(accepted.authorized).toBe(false);
  const { accepted: again } = await accept({ session: await session });
  expect(again.isSessionReused()).toBe(true);
  expect(again.authorized).toBe(false);
});

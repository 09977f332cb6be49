/** What knocks at the servers of a provisioned node and is not let in; and the servers go on as if nothing had been. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import http2 from 'node:http2';
import { connect as connectPlain } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { iam } from '../../src/api/contracts.ts';
import { type ClientTls, identityOptions } from '../../src/api/index.ts';
import { buildIam, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';
import { until } from './until.ts';

const STORY_MS = 120_000;
const SERVERS = ['public', 'protected'] as const;
type Server = (typeof SERVERS)[number];

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let mutual: ClientTls;

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  node = await IamNode.create({ ca, bundle: build.bundle });
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  await node.start();
  await provisionNode(node, ca);
  await node.restart();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

/** Both servers still do what they are for, in the process that was there before. */
let isServing: () => Promise<void>;
beforeAll(async () => {
  const { ids } = await node.client(iam.IAMPublicNodesService, 'public', { ca: ca.root }).getAllNodeIDs({});
  isServing = async () => {
    const client = node.client(iam.IAMPublicNodesService, 'public', { ca: ca.root });
    expect((await client.getAllNodeIDs({})).ids).toEqual(ids);
    const provisioning = node.client(iam.IAMProvisioningService, 'protected', mutual);
    expect((await provisioning.getCertTypes({})).types).toContain('iam');
  };
}, STORY_MS);
afterEach(() => isServing());

interface LogLine {
  readonly msg?: string;
  readonly server?: string;
  readonly error?: string;
}

/** The call fails, and the server writes down why it did not let the client in. */
async function expectRefusal(server: Server, call: () => Promise<unknown>, words: RegExp): Promise<void> {
  const { length } = await node.log();
  await expect(call()).rejects.toBeInstanceOf(Error);
  const reasons = async () => {
    const lines = (await node.log()).slice(length).split('\n').slice(0, -1);
    return lines
      .map((line) => JSON.parse(line) as LogLine)
      .filter((line) => line.server === server && line.msg === 'a TLS connection was refused')
      .map(({ error }) => error ?? '');
  };
  await until('the server says why', reasons, (all) => all.some((reason) => words.test(reason)));
}

const callProtected = (tls: ClientTls | undefined) =>
  node.client(iam.IAMProvisioningService, 'protected', tls).getCertTypes({}, { timeoutMs: 10_000 });
const callPublic = (tls: ClientTls | undefined) =>
  node.client(iam.IAMPublicNodesService, 'public', tls).getAllNodeIDs({}, { timeoutMs: 10_000 });

describe('certificates', () => {
  test('[IAM-02] one that has ended is refused by the protected server', async () => {
    const ended = await ca.identity('cm', { notAfter: new Date(Date.now() - 60_000) });
    const call = () => callProtected({ ca: ca.root, identity: ended });
    await expectRefusal('protected', call, /the certificate of the client: CERT_HAS_EXPIRED/);
  });

  test('[IAM-02] one that nobody signed is refused by the protected server', async () => {
    const other = await TestCa.create('Test Root');
    // The same names as the real root, another key.
    const identity = await other.identity('cm');
    const call = () => callProtected({ ca: ca.root, identity });
    await expectRefusal('protected', call, /the certificate of the client: [A-Z_]*SIGNATURE/);
  });

  test('[IAM-01] the public server needs none, and does not mind a foreign one', async () => {
    const foreign = await (await TestCa.create('Other Root')).identity('cm');
    await expect(callPublic({ ca: ca.root, identity: foreign })).resolves.toMatchObject({ ids: ['main-node'] });
  });

  test('[IAM-01] [IAM-02] a client that trusts another root talks to neither server', async () => {
    const other = await TestCa.create('Other Root');
    const words = /self-signed certificate in certificate chain/;
    await expect(callPublic({ ca: other.root })).rejects.toThrow(words);
    await expect(callProtected({ ca: other.root, identity: mutual.identity! })).rejects.toThrow(words);
  });
});

describe.each(SERVERS)('the %s server', (server) => {
  test('[IAM-03] does not answer in plain text', async () => {
    const call = () => (server === 'public' ? callPublic(undefined) : callProtected(undefined));
    await expectRefusal(server, call, /wrong version number/);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s', async (version) => {
    expect(await protocolOf(server, { minVersion: version, maxVersion: version })).toBe(version);
  });

  test('refuses TLS 1.1', async () => {
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
    await expectRefusal(server, () => protocolOf(server, old), /unsupported protocol/);
  });

  test('outlives bytes that are no TLS, and connections that end at once', async () => {
    for (let round = 0; round < 50; round += 1) {
      const socket = connectPlain(node.ports[server], '127.0.0.1');
      const gone = once(socket, 'close');
      socket.on('error', () => undefined);
      if (round % 2 === 0) socket.end(randomBytes(1 + round * 40));
      else socket.once('connect', () => socket.destroy());
      socket.resume();
      await gone;
    }
  });

  test('outlives frames that are no HTTP/2, inside of TLS', async () => {
    for (let round = 0; round < 20; round += 1) {
      const socket = await open(server, {});
      const gone = once(socket, 'close');
      socket.on('error', () => undefined);
      const preface = round % 2 === 0 ? Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') : Buffer.alloc(0);
      socket.end(Buffer.concat([preface, randomBytes(100 + round * 50)]));
      socket.resume();
      await gone;
    }
  });

  test('answers a call that is no message with a status', async () => {
    const path = server === 'public' ? 'IAMPublicNodesService/GetNodeInfo' : 'IAMProvisioningService/GetCertTypes';
    for (const body of [
      Buffer.from([0, 0, 0, 0, 3, 0xff, 0xff, 0xff]),
      randomBytes(64),
      Buffer.from([0, 0xff, 0xff, 0xff, 0xff]),
    ]) {
      const headers = await post(server, `/iamanager.v6.${path}`, body);
      const status = headers['grpc-status'];
      expect(status, body.toString('hex')).toBeDefined();
      expect(status).not.toBe('0');
    }
  });
});

function tlsOptions(server: Server): ConnectionOptions {
  const identity = server === 'protected' ? identityOptions(mutual.identity!) : {};
  return {
    ...(identity as ConnectionOptions),
    ...{ port: node.ports[server], host: '127.0.0.1', ca: ca.root, servername: 'localhost', ALPNProtocols: ['h2'] },
  };
}

async function open(server: Server, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ ...tlsOptions(server), ...options });
  await once(socket, 'secureConnect');
  return socket;
}

async function protocolOf(server: Server, options: ConnectionOptions): Promise<string | null> {
  const socket = await open(server, options);
  const protocol = socket.getProtocol();
  socket.destroy();
  return protocol;
}

/** Headers and trailers of the answer to a gRPC call with this body. */
async function post(server: Server, path: string, body: Buffer): Promise<http2.IncomingHttpHeaders> {
  const session = http2.connect(
    `https://localhost:${node.ports[server]}`,
    tlsOptions(server) as http2.SecureClientSessionOptions,
  );
  try {
    const call = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const seen: http2.IncomingHttpHeaders = {};
    call.on('response', (headers) => Object.assign(seen, headers));
    call.on('trailers', (headers) => Object.assign(seen, headers));
    call.end(body);
    call.resume();
    await once(call, 'close');
    return seen;
  } finally {
    session.destroy();
  }
}

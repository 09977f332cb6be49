/**
 * Every call of both servers with values that are missing, too long, of the wrong type or unknown: each answers a status or an
 * error that names what is wrong, and afterwards tokens, nodes and permissions are what they were.
 */
import { rm } from 'node:fs/promises';
import http2 from 'node:http2';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iam, iamVersion } from '../../src/api/contracts.ts';
import { type ClientTls, identityOptions } from '../../src/api/index.ts';
import { buildIam, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';
import { tokenObjects } from './token-objects.ts';

const STORY_MS = 120_000;

type Bad = readonly [request: object | readonly object[], names: RegExp];

const LONG = 'x'.repeat(100_000);
const UNKNOWN_NODE: Bad = [{ nodeId: 'nobody' }, /node "nobody" is unknown/];
const LONG_NODE: Bad = [{ nodeId: LONG }, /node "x+" is unknown|node "x+$/];
const ident = { itemId: 'item', subjectId: 'subject', instance: 1n };
const many = (count: number, value: unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${index}`, value]));
const nodeInfo = (value: object) => [{ IAMOutgoingMessage: { case: 'nodeInfo', value } }];
const PEM = (content: string) => `-----BEGIN CERTIFICATE-----\n${content}\n-----END CERTIFICATE-----\n`;

/** What is wrong with values of each call. A call that takes none has no bad ones. */
const BAD: Readonly<Record<string, readonly Bad[]>> = {
  'IAMVersionService.getAPIVersion': [],
  'IAMPublicIdentityService.getSystemInfo': [],
  'IAMPublicIdentityService.getSubjects': [],
  'IAMPublicIdentityService.subscribeSubjectsChanged': [],
  'IAMPublicCurrentNodeService.getCurrentNodeInfo': [],
  'IAMPublicCurrentNodeService.subscribeCurrentNodeChanged': [],
  'IAMPublicCertService.getCert': [
    [{}, /type "" is unknown; this node has online, offline/],
    [{ type: 'nothing' }, /type "nothing" is unknown/],
    [{ type: LONG }, /type "x+/],
    [{ type: 'iam', serial: 'xyz' }, /"xyz" is not hexadecimal/],
    [{ type: 'iam', serial: 'ab'.repeat(21) }, /42 digits, at most 40/],
    [{ type: 'iam', serial: LONG }, /100000 digits/],
    [{ type: 'iam', serial: '01', issuer: new Uint8Array(100_000) }, /no certificate of this issuer.*01/],
  ],
  'IAMPublicCertService.subscribeCertChanged': [
    [{}, /type "" is unknown/],
    [{ type: 'nothing' }, /type "nothing" is unknown/],
    [{ type: LONG }, /type "x+/],
  ],
  'IAMPublicPermissionsService.getPermissions': [
    [{}, /no instance with this secret/],
    [{ secret: LONG, functionalServerId: 'vis' }, /no instance with this secret.*"vis"/],
    [{ secret: 'guess', functionalServerId: LONG }, /no instance with this secret/],
  ],
  'IAMPublicNodesService.getAllNodeIDs': [],
  'IAMPublicNodesService.getNodeInfo': [[{}, /node "" is unknown/], UNKNOWN_NODE, LONG_NODE],
  'IAMPublicNodesService.subscribeNodeChanged': [],
  'IAMPublicNodesService.registerNode': [
    [nodeInfo({}), /the node id has 0 characters/],
    [nodeInfo({ nodeId: LONG, state: 'unprovisioned' }), /the node id has 100000 characters/],
    [nodeInfo({ nodeId: 'odd', state: 'odd' }), /"odd": unknown state "odd"/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', title: LONG }), /the title has 100000/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', totalRam: 2n ** 64n - 1n }), /cannot be meant/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', cpus: Array(65).fill({}) }), /65 CPUs/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', cpus: [{ modelName: LONG }] }), /description has 100000/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', partitions: Array(17).fill({}) }), /17 partitions/],
    [
      nodeInfo({ nodeId: 'odd', state: 'unprovisioned', partitions: [{ types: Array(17).fill('t') }] }),
      /more than 16 types/,
    ],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', attrs: Array(17).fill({}) }), /17 attributes/],
    [nodeInfo({ nodeId: 'odd', state: 'unprovisioned', attrs: [{ name: 'a', value: LONG }] }), /attribute a has/],
  ],
  'IAMNodesService.pauseNode': [UNKNOWN_NODE, LONG_NODE],
  'IAMNodesService.resumeNode': [UNKNOWN_NODE, LONG_NODE, [{}, /provisioned/]],
  'IAMProvisioningService.getCertTypes': [UNKNOWN_NODE, LONG_NODE],
  'IAMProvisioningService.startProvisioning': [
    UNKNOWN_NODE,
    LONG_NODE,
    [{}, /provisioned/],
    [{ password: LONG }, /provisioned/],
  ],
  'IAMProvisioningService.finishProvisioning': [UNKNOWN_NODE, LONG_NODE, [{ password: LONG }, /provisioned/]],
  'IAMProvisioningService.deprovision': [UNKNOWN_NODE, LONG_NODE],
  'IAMCertificateService.createKey': [
    UNKNOWN_NODE,
    LONG_NODE,
    [{}, /type "" is unknown/],
    [{ type: 'nothing' }, /type "nothing" is unknown/],
    [{ type: LONG }, /type "x+/],
    [{ type: 'iam', subject: LONG }, /subject has 100000 characters/],
    [{ type: 'iam', subject: 'a/O=Evil' }, /subject contains/],
    [{ type: 'iam', subject: 'a\0b' }, /subject contains/],
  ],
  'IAMCertificateService.applyCert': [
    UNKNOWN_NODE,
    LONG_NODE,
    [{}, /type "" is unknown/],
    [{ type: 'nothing', cert: PEM('AAAA') }, /type "nothing" is unknown/],
    [{ type: 'iam' }, /has no certificate/],
    [{ type: 'iam', cert: LONG }, /has no certificate/],
    [{ type: 'iam', cert: '-'.repeat(1_000_000) }, /has no certificate/],
    [{ type: 'iam', cert: '-----BEGIN CERTIFICATE-----\nAAAA' }, /has no certificate|can be read/],
    [{ type: 'iam', cert: PEM('AAAA') }, /certificate 1 of the chain cannot be read/],
    [{ type: 'iam', cert: PEM(LONG) }, /certificate 1 of the chain cannot be read/],
    [{ type: 'iam', cert: PEM('AAAA').repeat(100) }, /the chain has 100 certificates, at most 8/],
  ],
  'IAMPermissionsService.registerInstance': [
    [{}, /names no instance/],
    [{ instance: {} }, /item id has 0 characters/],
    [{ instance: { ...ident, itemId: LONG } }, /item id has 100000 characters/],
    [{ instance: { ...ident, subjectId: LONG } }, /subject id has 100000 characters/],
    [{ instance: { ...ident, instance: 2n ** 64n - 1n } }, /is no number of an instance/],
    [{ instance: ident, permissions: many(65, {}) }, /65 functional servers/],
    [{ instance: ident, permissions: { vis: { permissions: many(65, 'r') } } }, /"vis" name 65 functions/],
    [{ instance: ident, permissions: { [LONG]: {} } }, /functional server has 100000/],
    [{ instance: ident, permissions: { vis: { permissions: { [LONG]: 'r' } } } }, /function has 100000/],
    [{ instance: ident, permissions: { vis: { permissions: { speed: LONG } } } }, /permission has 100000/],
  ],
  'IAMPermissionsService.unregisterInstance': [
    [{}, /names no instance/],
    [{ instance: ident }, /instance .*item.* has no permissions registered/],
    [{ instance: { ...ident, itemId: LONG } }, /instance x+/],
  ],
};

const SERVICES: readonly DescService[] = [iamVersion.IAMVersionService, ...servicesOf(iam)];
const PUBLIC = SERVICES.filter(({ name }) => /Public|Version/.test(name));

function servicesOf(contract: object): DescService[] {
  return Object.values(contract).filter((value): value is DescService => value?.kind === 'service');
}

const methodsOf = (services: readonly DescService[]) =>
  services.flatMap((service) => service.methods.map((method) => ({ service, method })));
const nameOf = (service: DescService, method: DescMethod) => `${service.name}.${method.localName}`;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let mutual: ClientTls;
let before: unknown;

/** Everything that a bad call could have changed. */
async function everything(): Promise<unknown> {
  const { nodes, certificates, instancesWithPermissions, provisioningUnderWay } = await node.status();
  const tokens = [await tokenObjects(node, 'aoscore'), await tokenObjects(node, 'aoscloud')];
  return { tokens, nodes, certificates, instancesWithPermissions, provisioningUnderWay };
}

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  node = await IamNode.create({ ca, bundle: build.bundle });
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  await node.start();
  await provisionNode(node, ca);
  await node.restart();
  before = await everything();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

/** What an answer says is wrong: in its status, or in its field `error`. */
async function complaint(service: DescService, method: DescMethod, server: 'public' | 'protected', request: unknown) {
  const client = node.client(service, server, server === 'public' ? { ca: ca.root } : mutual) as unknown as Record<
    string,
    (request: unknown, options: object) => Promise<unknown> & AsyncIterable<unknown>
  >;
  const call = client[method.localName]!.bind(client);
  const options = { timeoutMs: 10_000 };
  try {
    if (method.methodKind === 'unary') {
      const { error } = (await call(request, options)) as {
        error?: { aosCode: number; exitCode: number; message: string };
      };
      expect(error, 'an answer without a complaint').toBeDefined();
      expect(error!.aosCode).not.toBe(0);
      expect(error!.exitCode).not.toBe(0);
      return error!.message;
    }
    const input = method.methodKind === 'server_streaming' ? request : streamOf(request as readonly object[]);
    for await (const _ of call(input, options)) throw new Error('it told something');
    return 'the stream ended in order';
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return error.rawMessage;
  }
}

async function* streamOf(messages: readonly object[]): AsyncGenerator<object> {
  yield* messages;
}

test('each call of the contract stands in the table', () => {
  expect(Object.keys(BAD).sort()).toEqual(
    methodsOf(SERVICES)
      .map(({ service, method }) => nameOf(service, method))
      .sort(),
  );
});

describe.each([
  ['protected', SERVICES],
  ['public', PUBLIC],
] as const)('the %s server', (server, services) => {
  const withValues = methodsOf(services).filter(({ service, method }) => BAD[nameOf(service, method)]!.length > 0);

  test.each(withValues.map(({ service, method }) => [nameOf(service, method), service, method] as const))(
    '[X-02] %s names what is wrong with its values',
    async (name, service, method) => {
      for (const [request, names] of BAD[name]!)
        expect(await complaint(service, method, server, request)).toMatch(names);
    },
    STORY_MS,
  );

  test.each([
    ['the end of the message in the middle of a field', Buffer.from([0x0a, 0x7f, 0x01])],
    ['a field that has no number', Buffer.from([0x02, 0x00])],
    ['bytes of chance', Buffer.from('f7ffffffffffffffffffffffff', 'hex')],
  ])('every call with %s answers a status with a text', async (_, message) => {
    const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
    for (const { service, method } of methodsOf(services)) await expectStatus(server, service, method, frame);
  });

  test('every call whose message is said to be larger than the largest answers a status with a text', async () => {
    const frame = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
    for (const { service, method } of methodsOf(services)) await expectStatus(server, service, method, frame);
  });
});

test(
  '[IAM-17] [IAM-32] afterwards everything is as before: tokens, certificates, nodes, permissions',
  async () => {
    expect(await everything()).toEqual(before);
  },
  STORY_MS,
);

let sessions: http2.ClientHttp2Session[] = [];
afterAll(() => {
  for (const session of sessions) session.destroy();
  sessions = [];
});

async function expectStatus(server: 'public' | 'protected', service: DescService, method: DescMethod, body: Buffer) {
  const session = sessionOf(server);
  const call = session.request({
    ':method': 'POST',
    ':path': `/${service.typeName}/${method.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const seen: http2.IncomingHttpHeaders = {};
  call.on('response', (headers) => Object.assign(seen, headers));
  call.on('trailers', (headers) => Object.assign(seen, headers));
  call.end(body);
  call.resume();
  await new Promise((resolve) => call.once('close', resolve));
  expect(seen['grpc-status'], nameOf(service, method)).toMatch(/^([1-9]|1[0-6])$/);
  expect(seen['grpc-message'], nameOf(service, method)).toMatch(/./);
}

const opened = new Map<string, http2.ClientHttp2Session>();
function sessionOf(server: 'public' | 'protected'): http2.ClientHttp2Session {
  const known = opened.get(server);
  if (known && !known.destroyed) return known;
  const session = http2.connect(`https://localhost:${node.ports[server]}`, {
    ...(server === 'protected' ? (identityOptions(mutual.identity!) as object) : {}),
    ca: ca.root,
  });
  opened.set(server, session);
  sessions.push(session);
  return session;
}

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { ApiServer, Channel, type ServerOptions, type ServerTls } from '../../api/index.ts';
import { AosError, type Clock, Mailbox, silentLogger, systemClock, throwIfCanceled } from '../../core/index.ts';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { IamClient } from './iam-client.ts';
import { ProtectedIam } from './protected-iam.ts';
import { untilIamAnswers } from './until-iam-answers.ts';

const hurried: Clock = {
  ...systemClock,
  sleep: async (_, signal) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    throwIfCanceled(signal);
  },
};

/** An IAM whose words a test decides. */
class ScriptedIam {
  nodes: Record<string, { state: string; error?: { aosCode: number; exitCode: number; message: string } }> = {
    main: { state: 'provisioned' },
  };
  subjects = ['bert', 'anna'];
  nodeStreams = new Set<Mailbox<string>>();
  opened = 0;
  refusal: { aosCode: number; exitCode: number; message: string } | undefined;
  calls: string[] = [];

  nodeInfo = (nodeId: string) => ({ nodeId, nodeType: 'main', totalRam: 5n, ...this.nodes[nodeId] });

  open(tls?: ServerTls, authorize?: ServerOptions['authorize']): Promise<ApiServer> {
    const that = this;
    return ApiServer.open({
      listen: '127.0.0.1:0',
      logger: silentLogger,
      ...(tls && { tls }),
      ...(authorize && { authorize }),
      routes: (router) => {
        router.service(iam.IAMPublicIdentityService, {
          getSystemInfo: () => ({ systemId: 'unit-1', unitModel: 'model', version: '2' }),
          getSubjects: () => ({ subjects: this.subjects }),
          async *subscribeSubjectsChanged(_, { signal }) {
            await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
          },
        });
        router.service(iam.IAMPublicCurrentNodeService, { getCurrentNodeInfo: () => this.nodeInfo('main') });
        router.service(iam.IAMPublicNodesService, {
          getAllNodeIDs: () => ({ ids: Object.keys(this.nodes) }),
          getNodeInfo: ({ nodeId }) => this.nodeInfo(nodeId),
          async *subscribeNodeChanged(_, { signal }) {
            that.opened += 1;
            const box = new Mailbox<string>(8);
            that.nodeStreams.add(box);
            signal.addEventListener('abort', () => box.close(), { once: true });
            for await (const nodeId of box) yield that.nodeInfo(nodeId);
          },
        });
        router.service(iam.IAMNodesService, {
          pauseNode: ({ nodeId }) => {
            this.calls.push(`pause ${nodeId}`);
            return this.refusal ? { error: this.refusal } : {};
          },
        });
        router.service(iam.IAMCertificateService, {
          createKey: ({ type }) => ({ type, csr: type === 'broken' ? '' : 'REQUEST' }),
          applyCert: () => ({ certInfo: { serial: Buffer.from('0AFF') } }),
        });
      },
    });
  }
}

let scripted: ScriptedIam;
let server: ApiServer;
let channel: Channel;
let client: IamClient;

beforeEach(async () => {
  scripted = new ScriptedIam();
  server = await scripted.open();
  channel = new Channel({ address: `127.0.0.1:${server.address.port}` });
  client = new IamClient({ channel, logger: silentLogger, clock: hurried });
  await client.start();
});

afterEach(async () => {
  await client.stop();
  channel.close();
  await server.close();
});

test('[CM-92] the system, its nodes and subjects are known after the start', () => {
  expect(client.system).toEqual({ systemId: 'unit-1', unitModel: 'model', version: '2' });
  expect(client.mainNodeId).toBe('main');
  expect(client.nodes()).toMatchObject([{ nodeId: 'main', nodeType: 'main', totalRam: 5, state: 'provisioned' }]);
  expect(client.subjects()).toEqual(['anna', 'bert']);
});

test('[CM-92] changes of nodes are heard, also after the stream broke', async () => {
  const heard: string[] = [];
  client.onNode(({ nodeId, state }) => heard.push(`${nodeId} ${state}`));
  await vi.waitFor(() => expect(scripted.nodeStreams.size).toBe(1));
  scripted.nodes.main = { state: 'paused' };
  for (const stream of scripted.nodeStreams) stream.push('main');
  await vi.waitFor(() => expect(heard.at(-1)).toBe('main paused'));
  // What happens while nobody listens is asked for afterwards.
  scripted.nodes.second = { state: 'provisioned' };
  for (const stream of scripted.nodeStreams) stream.close();
  await vi.waitFor(() => expect(heard).toContain('second provisioned'));
  expect(scripted.opened).toBeGreaterThan(1);
});

test('an IAM that does not tell of its nodes gets no more and more subscriptions', async () => {
  const nodeInfo = scripted.nodeInfo;
  scripted.nodeInfo = () => {
    throw new Error('not now');
  };
  for (const stream of scripted.nodeStreams) stream.close();
  await vi.waitFor(() => expect(scripted.opened).toBeGreaterThan(5));
  scripted.nodeInfo = nodeInfo;
  await vi.waitFor(() => expect([...scripted.nodeStreams].filter(({ closed }) => !closed)).toHaveLength(1));
});

test('a node in a state that nobody knows takes nothing', async () => {
  scripted.nodes.main = { state: 'dreaming' };
  for (const stream of scripted.nodeStreams) stream.push('main');
  await vi.waitFor(() => expect(client.nodes()).toMatchObject([{ state: 'error' }]));
});

test('an IAM that comes late is waited for, and the first failure is told', async () => {
  let failures = 3;
  const waiting = vi.fn();
  const attempt = async () => {
    failures -= 1;
    if (failures >= 0) throw new AosError('failed', 'connection refused');
  };
  await untilIamAnswers(attempt, waiting, {
    clock: hurried,
    logger: silentLogger,
    signal: new AbortController().signal,
  });
  expect(waiting).toHaveBeenCalledTimes(3);
});

test('[CM-26] [CM-127] orders go out with the own certificate, and what IAM refuses comes back in its words', async () => {
  const root = await makeCertificate('root', { ca: true });
  const identity = (own: Awaited<ReturnType<typeof makeCertificate>>) => ({
    certificateChain: own.pem,
    key: { kind: 'pem' as const, pem: own.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() },
  });
  const theirs = identity(await makeCertificate('iam', { issuer: root, dnsName: 'localhost' }));
  let ours = identity(await makeCertificate('cm', { issuer: root }));
  const users: string[] = [];
  const secure = await scripted.open({ identity: theirs, ca: root.pem, clientCertificate: 'required' }, (_, [name]) => {
    users.push(name!);
    return undefined;
  });
  const orders = new ProtectedIam({
    address: `localhost:${secure.address.port}`,
    serverTls: { ca: root.pem },
    identity: () => ours,
    clock: hurried,
  });
  const { signal } = new AbortController();
  try {
    await orders.pauseNode('main', signal);
    expect(scripted.calls).toEqual(['pause main']);
    scripted.refusal = { aosCode: 9, exitCode: 1, message: 'wrong state' };
    await expect(orders.pauseNode('main', signal)).rejects.toMatchObject({
      code: 'wrongState',
      message: 'wrong state',
    });
    expect(await orders.createKey('main', 'online', 'pw', signal)).toBe('REQUEST');
    await expect(orders.createKey('main', 'broken', 'pw', signal)).rejects.toThrow(/no certificate request/);
    expect(await orders.applyCert('main', 'online', 'PEM', signal)).toBe('0aff');
    expect(new Set(users)).toEqual(new Set(['cm']));

    ours = identity(await makeCertificate('cm of tomorrow', { issuer: root }));
    orders.renew();
    await vi.waitFor(async () => {
      await orders.createKey('main', 'online', 'pw', signal);
      expect(users.at(-1)).toBe('cm of tomorrow');
    });
  } finally {
    orders.stop();
    await secure.close();
  }
});

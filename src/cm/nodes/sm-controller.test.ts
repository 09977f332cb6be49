import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, test } from 'vitest';
import { sm as api } from '../../api/contracts.ts';
import { Channel, type ServerTls, type TlsIdentity } from '../../api/index.ts';
import { silentLogger } from '../../core/index.ts';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { iamNode, until } from '../launcher/unit-for-tests.ts';
import type { NodeInfo } from '../model.ts';
import { NodeDirectory } from './node-directory.ts';
import { ScriptedSm } from './scripted-sm-for-tests.ts';
import { SmController } from './sm-controller.ts';

const cleanUp: (() => Promise<void> | void)[] = [];
const signal = new AbortController().signal;

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function open(smConnectionTimeoutMs = 60_000) {
  const nodes = new NodeDirectory({ logger: silentLogger, smConnectionTimeoutMs });
  const controller = new SmController({
    listen: '127.0.0.1:0',
    nodes,
    blobUrls: async (digests) => digests.map((digest) => `http://main/${digest}`),
    logger: silentLogger,
  });
  await controller.start();
  cleanUp.push(
    () => nodes.stop(),
    () => controller.stop(),
  );
  const address = `127.0.0.1:${controller.address!.port}`;
  const connect = (nodeId: string) => {
    const sm = new ScriptedSm({ address, nodeId });
    cleanUp.push(() => sm.stop());
    return sm;
  };
  return { nodes, controller, address, connect };
}

describe('streams of service managers', () => {
  test('[CM-10] an SM hears at once whether the cloud is connected, and of each change', async () => {
    const { controller, connect } = await open();
    const sm = connect('main');
    await until(() => sm.received.length === 1);
    controller.setCloudConnected(true);
    controller.setCloudConnected(true);
    controller.setCloudConnected(false);
    await until(() => sm.received.length === 3);
    expect(sm.received.map(({ case: kind, value }) => kind === 'connectionStatus' && value.cloudStatus)).toEqual([
      api.ConnectionEnum.DISCONNECTED,
      api.ConnectionEnum.CONNECTED,
      api.ConnectionEnum.DISCONNECTED,
    ]);
  });

  test('[CM-90] [CM-92] a node is what IAM says, with the runtimes that its SM says', async () => {
    const { nodes, connect } = await open();
    nodes.updateFromIam(iamNode('main', { title: 'first' }));
    expect(nodes.node('main')).toMatchObject({ isConnected: false, runtimes: [] });
    connect('main');
    await until(() => nodes.node('main')!.isConnected);
    expect(nodes.node('main')).toMatchObject({ title: 'first', runtimes: [{ runtimeId: 'runc@main', type: 'runc' }] });
  });

  test('[CM-91] a node whose SM stays away turns to error, and back when it returns', async () => {
    const { nodes, connect } = await open(30);
    const told: NodeInfo[] = [];
    nodes.updateFromIam(iamNode('main'));
    const sm = connect('main');
    await until(() => nodes.node('main')!.isConnected);
    nodes.subscribe((node) => told.push(node));
    await sm.stop();
    await until(() => nodes.node('main')!.state === 'error');
    expect(told.map(({ state, isConnected }) => `${state} ${isConnected}`)).toEqual([
      'provisioned false',
      'error false',
    ]);
    expect(nodes.node('main')!.error).toEqual({ aosCode: 7, exitCode: 0, message: 'SM connection timeout' });
    connect('main');
    await until(() => nodes.node('main')!.state === 'provisioned');
    expect(nodes.node('main')!.isConnected).toBe(true);
  });

  test('the newest stream of a node wins, and the end of the older one is no loss', async () => {
    const { controller, nodes, connect } = await open();
    nodes.updateFromIam(iamNode('main'));
    const first = connect('main');
    await until(() => controller.isConnected('main'));
    const second = connect('main');
    await first.ended;
    expect(nodes.node('main')!.isConnected).toBe(true);
    controller.sendUpdateInstances('main', { start: [], stop: [] });
    await until(() => second.updates.length === 1);
  });

  test('[CM-90] what an SM says wrongly is let go, word by word; its stream, its node and all others go on', async () => {
    const { nodes, controller, connect } = await open();
    for (const nodeId of ['bad', 'other']) nodes.updateFromIam(iamNode(nodeId));
    const told: string[] = [];
    controller.onStatuses(({ nodeId, instances }) => told.push(`${nodeId} ${instances.map(({ state }) => state)}`));
    controller.onAlert(({ content }) => told.push(content.tag));
    const [bad, other] = [connect('bad'), connect('other')];
    await until(() => told.length === 2);
    const ident = { itemId: 'a', subjectId: 's', instance: 0n };
    const status = (state: string) => create(api.InstanceStatusSchema, { instance: ident, version: '1.0.0', state });
    const list = (...states: string[]) =>
      create(api.NodeInstancesStatusSchema, { instances: states.map((state) => status(state)) });
    const alert = (AlertItem: api.Alert['AlertItem']) => create(api.AlertSchema, { AlertItem });
    bad.say({ case: 'smInfo', value: create(api.SMInfoSchema, { nodeId: '' }) });
    bad.say({ case: 'smInfo', value: create(api.SMInfoSchema, { nodeId: 'other' }) });
    bad.say({ case: 'nodeInstancesStatus', value: list('active', 'flying') });
    bad.say({ case: 'nodeInstancesStatus', value: create(api.NodeInstancesStatusSchema, { instances: [{}] }) });
    for (const wrong of [{ itemId: 'x'.repeat(65) }, { subjectId: 'ü'.repeat(33) }]) {
      const instances = [create(api.InstanceStatusSchema, { instance: { ...ident, ...wrong }, state: 'active' })];
      bad.say({ case: 'nodeInstancesStatus', value: create(api.NodeInstancesStatusSchema, { instances }) });
    }
    const elsewhere = { ...status('active'), runtimeId: 'x'.repeat(65) };
    bad.say({ case: 'nodeInstancesStatus', value: create(api.NodeInstancesStatusSchema, { instances: [elsewhere] }) });
    const runtimes = [{ runtimeId: 'x'.repeat(65), type: 'runc' }];
    bad.say({ case: 'smInfo', value: create(api.SMInfoSchema, { nodeId: 'bad', runtimes }) });
    bad.say({ case: 'alert', value: alert({ case: undefined }) });
    const quota = create(api.SystemQuotaAlertSchema, { parameter: 'ram', status: 'wobble' });
    bad.say({ case: 'alert', value: alert({ case: 'systemQuotaAlert', value: quota }) });
    bad.say({ case: 'nodeConfigStatus', value: create(api.NodeConfigStatusSchema, {}) });
    bad.say({ case: 'averageMonitoring', value: create(api.AverageMonitoringSchema, {}) });
    bad.say({ case: undefined });
    bad.say({ case: 'nodeInstancesStatus', value: list('active', 'failed') });
    other.reportAll();
    await until(() => told.length === 9);
    const heard = told.slice(2);
    expect(heard.filter((line) => line.startsWith('bad'))).toEqual([
      // The one in an unknown state has failed; those that cannot be named are left out.
      'bad active,failed',
      ...Array<string>(4).fill('bad '),
      'bad active,failed',
    ]);
    expect(heard).toContain('other ');
    expect(nodes.nodes().map(({ isConnected }) => isConnected)).toEqual([true, true]);
    expect(controller.isConnected('bad') && controller.isConnected('other')).toBe(true);
    // The cloud takes no longer names: one of them would keep the whole status of the unit from it.
    expect(nodes.node('bad')!.runtimes.map(({ runtimeId }) => runtimeId)).toEqual(['runc@bad']);
  });

  test('a request to a node without a stream says that there is no such node', async () => {
    const { controller } = await open();
    expect(() => controller.sendUpdateInstances('main', { start: [], stop: [] })).toThrow('node not found');
    await expect(controller.getAverageMonitoring('main', signal)).rejects.toMatchObject({ code: 'notFound' });
  });

  test('configuration questions to one node are asked one after the other', async () => {
    const { controller, connect } = await open();
    const sm = connect('main');
    await until(() => controller.isConnected('main'));
    const answers = await Promise.all([
      controller.setNodeConfig('main', { json: '{}', version: '1.0.0' }, signal),
      controller.getNodeConfigStatus('main', signal),
    ]);
    expect(answers.map(({ version }) => version)).toEqual(['1.0.0', '1.0.0']);
    expect(sm.received.map(({ case: kind }) => kind)).toEqual([
      'connectionStatus',
      'setNodeConfig',
      'getNodeConfigStatus',
    ]);
  });

  test('a question ends with an error when the node goes away', async () => {
    const { controller, connect } = await open();
    const sm = connect('main');
    await until(() => controller.isConnected('main'));
    sm.stop();
    await expect(controller.getAverageMonitoring('main', signal)).rejects.toThrow();
  });

  test('[CM-90] only an SM with a certificate of the unit is let in, by the certificate that is newest', async () => {
    const ca = await makeCertificate('ca', { ca: true });
    const identity = async (issuer: typeof ca): Promise<TlsIdentity> => {
      const made = await makeCertificate('peer', { issuer, dnsName: 'localhost' });
      const pem = made.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      return { certificateChain: made.pem, key: { kind: 'pem', pem } };
    };
    const nodes = new NodeDirectory({ logger: silentLogger });
    const controller = new SmController({
      listen: '127.0.0.1:0',
      nodes,
      blobUrls: async () => [],
      logger: silentLogger,
    });
    const tls = async (): Promise<ServerTls> => ({
      identity: await identity(ca),
      ca: ca.pem,
      clientCertificate: 'required',
    });
    await controller.start(await tls());
    cleanUp.push(
      () => nodes.stop(),
      () => controller.stop(),
    );
    const address = `localhost:${controller.address!.port}`;
    const connect = (nodeId: string, shown: TlsIdentity) => {
      const sm = new ScriptedSm({ address, nodeId, tls: { ca: ca.pem, identity: shown } });
      cleanUp.push(() => sm.stop());
      return sm;
    };
    connect('main', await identity(ca));
    await until(() => controller.isConnected('main'));
    const stranger = connect('stranger', await identity(await makeCertificate('other', { ca: true })));
    await stranger.ended;
    expect(controller.isConnected('stranger')).toBe(false);
    controller.replaceTls(await tls());
    expect(controller.isConnected('main')).toBe(true);
    connect('second', await identity(ca));
    await until(() => controller.isConnected('second'));
  });

  test('[CM-50] addresses of blobs are answered in the order of the digests', async () => {
    const { address } = await open();
    const channel = new Channel({ address });
    cleanUp.push(() => channel.close());
    const { urls } = await channel.client(api.SMService).getBlobsInfos({ digests: ['sha256:b', 'sha256:a'] });
    expect(urls).toEqual(['http://main/sha256:b', 'http://main/sha256:a']);
  });
});

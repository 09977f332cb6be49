/** Two nodes with real aos-iam programs: registration, relayed commands, lost links, renewal. */
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iam } from '../../src/api/contracts.ts';
import { type ClientTls, readErrorMessage } from '../../src/api/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';
import { until } from './until.ts';

const STORY_MS = 180_000;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let main: IamNode;
let second: IamNode;
let mutual: ClientTls;

const connectedState = async (nodeId = 'second-node') => {
  const entry = (await main.status()).nodes.find((node) => node.nodeId === nodeId);
  return entry && `${entry.state} ${entry.connected ? 'connected' : 'away'}`;
};
const untilSecond = (wanted: string) =>
  until(`the second node is ${wanted}`, connectedState, (state) => state === wanted);

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  main = await IamNode.create({ ca, bundle: build.bundle });
  second = await IamNode.create({ ca, bundle: build.bundle, nodeId: 'second-node', main });
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  await second.start();
  await main.start();
}, STORY_MS);

afterAll(async () => {
  await second?.close();
  await main?.close();
  await rm(build.directory, { recursive: true, force: true });
});

describe('blank nodes', () => {
  test('[IAM-21] [IAM-22] a blank node registers at the public server, also when the main node comes later', async () => {
    await untilSecond('unprovisioned connected');
    const nodes = main.client(iam.IAMPublicNodesService, 'public');
    expect((await nodes.getAllNodeIDs({})).ids.sort()).toEqual(['main-node', 'second-node']);
    const info = await nodes.getNodeInfo({ nodeId: 'second-node' });
    expect(info).toMatchObject({ nodeType: 'secondary', state: 'unprovisioned', title: 'a node' });
  });

  test('a node that nobody has heard of is not reached, and the caller hears so', async () => {
    const certificates = main.client(iam.IAMCertificateService, 'protected');
    const call = certificates.createKey({ nodeId: 'nobody', type: 'iam' }, { timeoutMs: 30_000 });
    await expect(call).rejects.toMatchObject({
      code: Code.Internal,
      message: expect.stringMatching(
        /node "nobody" is unknown; the unit has (main-node, second|second-node, main)-node/,
      ),
    });
  });

  test(
    '[IAM-23] the second node is provisioned through the main one, its keys with the system id of the unit',
    async () => {
      const certificates = main.client(iam.IAMCertificateService, 'protected');
      expect(await provisionNode(main, ca, 'second-node', 'secret-2')).toEqual(['iam', 'sm']);
      expect(await readFile(second.statePath, 'utf8')).toBe('provisioned');
      expect((await second.status()).certificates.map(({ type }) => type).sort()).toEqual(['iam', 'sm']);
      // In the registry too, before the node comes back on the protected server.
      const info = await main.client(iam.IAMPublicNodesService, 'public').getNodeInfo({ nodeId: 'second-node' });
      expect(info.state).toBe('provisioned');
      const unknown = await certificates.createKey({ nodeId: 'second-node', type: 'nothing' });
      expect(unknown).toMatchObject({ nodeId: 'second-node', type: 'nothing', csr: '' });
      expect(readErrorMessage(unknown.error)).toMatchObject({ code: 'notFound', exitCode: 2 });
      await provisionNode(main, ca);
    },
    STORY_MS,
  );
});

describe('provisioned nodes', () => {
  beforeAll(async () => {
    await second.restart();
    await main.restart();
    await untilSecond('provisioned connected');
  }, STORY_MS);

  test('[IAM-22] [IAM-36] the node came back by itself, by mutual TLS at the protected server', async () => {
    expect((await second.status()).mainIam).toMatchObject({
      state: 'connected',
      tls: true,
      address: `localhost:${main.ports.protected}`,
    });
  });

  test('[IAM-31] [IAM-24] paused and resumed through the main node; the state outlives a restart', async () => {
    const changes: string[] = [];
    const abort = new AbortController();
    const following = (async () => {
      const stream = main
        .client(iam.IAMPublicNodesService, 'public', { ca: ca.root })
        .subscribeNodeChanged({}, { signal: abort.signal });
      for await (const info of stream) changes.push(`${info.nodeId} ${info.state}`);
    })().catch(() => undefined);
    const nodes = main.client(iam.IAMNodesService, 'protected', mutual);
    expectDone(await nodes.pauseNode({ nodeId: 'second-node' }));
    expect(await readFile(second.statePath, 'utf8')).toBe('paused');
    await until(
      'the change is told',
      () => changes,
      (list) => list.includes('second-node paused'),
    );
    const again = await nodes.pauseNode({ nodeId: 'second-node' });
    expect(readErrorMessage(again.error)).toMatchObject({ code: 'wrongState', exitCode: 1 });
    await second.restart();
    await untilSecond('paused connected');
    expectDone(await nodes.resumeNode({ nodeId: 'second-node' }));
    await untilSecond('provisioned connected');
    expect(await readFile(second.statePath, 'utf8')).toBe('provisioned');
    abort.abort();
    await following;
  });

  test('[IAM-01] a second node has no services of the unit, and tells of its own changes', async () => {
    const tls = { ca: ca.root };
    for (const call of [
      () => second.client(iam.IAMPublicIdentityService, 'public', tls).getSystemInfo({}),
      () => second.client(iam.IAMPublicNodesService, 'public', tls).getAllNodeIDs({}),
      () => second.client(iam.IAMProvisioningService, 'protected', mutual).startProvisioning({}),
      () => second.client(iam.IAMCertificateService, 'protected', mutual).createKey({ type: 'iam' }),
      () => second.client(iam.IAMNodesService, 'protected', mutual).pauseNode({}),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: Code.Unimplemented });
    }
    const current = second.client(iam.IAMPublicCurrentNodeService, 'public', tls);
    expect((await current.getCurrentNodeInfo({})).nodeId).toBe('second-node');
    const abort = new AbortController();
    const heard = (async () => {
      // The last change before is told first.
      for await (const { state } of current.subscribeCurrentNodeChanged({}, { signal: abort.signal })) {
        if (state === 'paused') return state;
      }
      return undefined;
    })();
    const nodes = main.client(iam.IAMNodesService, 'protected', mutual);
    expectDone(await nodes.pauseNode({ nodeId: 'second-node' }));
    expect(await heard).toBe('paused');
    abort.abort();
    expectDone(await nodes.resumeNode({ nodeId: 'second-node' }));
  });

  test('[IAM-30] a provisioned node refuses to be provisioned again', async () => {
    const provisioning = main.client(iam.IAMProvisioningService, 'protected', mutual);
    for (const nodeId of ['', 'second-node']) {
      for (const call of [provisioning.startProvisioning, provisioning.finishProvisioning]) {
        expect(readErrorMessage((await call({ nodeId, password: 'x' })).error)?.code).toBe('wrongState');
      }
    }
    expect((await second.status()).certificates).toHaveLength(2);
  });

  test(
    '[IAM-25] a node that hangs is noticed, and welcome when it is back',
    async () => {
      second.signal('SIGSTOP');
      await untilSecond('provisioned away');
      second.signal('SIGCONT');
      await untilSecond('provisioned connected');
    },
    STORY_MS,
  );

  test('[IAM-20] the main node knows its nodes after a restart, also those that are off', async () => {
    await second.stop();
    await main.restart();
    expect(await connectedState()).toBe('provisioned away');
    await second.start();
    await untilSecond('provisioned connected');
  });

  test('[IAM-12] [IAM-23] a renewed certificate of the second node is used for its link', async () => {
    const certificates = main.client(iam.IAMCertificateService, 'protected', mutual);
    const since = (await second.status()).mainIam?.since;
    const { csr } = expectDone(await certificates.createKey({ nodeId: 'second-node', type: 'iam' }));
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + 40 * 86_400_000) });
    expectDone(await certificates.applyCert({ nodeId: 'second-node', type: 'iam', cert }));
    await until(
      'the link is a new one',
      () => second.status(),
      ({ mainIam }) => mainIam?.since !== since,
    );
    await untilSecond('provisioned connected');
  });

  test('[IAM-22] anybody at the public server cannot take the place of a node of the unit', async () => {
    const nodes = main.client(iam.IAMPublicNodesService, 'public', { ca: ca.root });
    const abort = new AbortController();
    async function* impostor() {
      yield {
        IAMOutgoingMessage: { case: 'nodeInfo', value: { nodeId: 'second-node', state: 'unprovisioned' } } as const,
      };
      await new Promise((resolve) => abort.signal.addEventListener('abort', resolve));
    }
    const stream = (async () => {
      for await (const _ of nodes.registerNode(impostor(), { signal: abort.signal })) throw new Error('it was asked');
    })();
    await until(
      'it was refused',
      () => main.log(),
      (log) => log.includes('a node was not admitted'),
    );
    expect(await connectedState()).toBe('provisioned connected');
    abort.abort();
    await stream.catch(() => undefined);
  });

  test(
    '[IAM-29] deprovisioned through the main node: the state is gone, and it comes back as a blank one over TLS',
    async () => {
      const provisioning = main.client(iam.IAMProvisioningService, 'protected', mutual);
      expectDone(await provisioning.deprovision({ nodeId: 'second-node', password: 'secret-2' }));
      expect(existsSync(second.statePath)).toBe(false);
      await second.restart();
      await untilSecond('unprovisioned connected');
      expect((await second.status()).mainIam).toMatchObject({ tls: true });
    },
    STORY_MS,
  );

  test(
    '[IAM-26] a node is added to a unit that is in use',
    async () => {
      const provisioning = main.client(iam.IAMProvisioningService, 'protected', mutual);
      const certificates = main.client(iam.IAMCertificateService, 'protected', mutual);
      const wrong = await provisioning.startProvisioning({ nodeId: 'second-node', password: 'another' });
      expect(readErrorMessage(wrong.error)).toMatchObject({
        code: 'wrongState',
        message: expect.stringMatching(/another password/),
      });
      const old = (await second.status()).certificates.map(({ serial }) => serial);
      expectDone(await provisioning.startProvisioning({ nodeId: 'second-node', password: 'secret-2' }));
      expect((await second.status()).certificates).toEqual([]);
      for (const type of ['iam', 'sm']) {
        const { csr } = expectDone(await certificates.createKey({ nodeId: 'second-node', type, password: 'secret-2' }));
        expectDone(await certificates.applyCert({ nodeId: 'second-node', type, cert: await ca.sign(csr) }));
      }
      expectDone(await provisioning.finishProvisioning({ nodeId: 'second-node', password: 'secret-2' }));
      expect((await second.status()).certificates.map(({ serial }) => serial)).not.toEqual(expect.arrayContaining(old));
      await second.restart();
      await untilSecond('provisioned connected');
    },
    STORY_MS,
  );
});

/** aos-iam as its clients see it: the real program, a real token, both servers, from blank to renewed. */
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iam, iamVersion } from '../../src/api/contracts.ts';
import type { ClientTls } from '../../src/api/index.ts';
import { silentLogger } from '../../src/core/index.ts';
import { askControl, IamCredentials } from '../../src/daemon/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { shownSerial } from './shown-serial.ts';
import { TestCa } from './test-ca.ts';
import { until } from './until.ts';

const STORY_MS = 120_000;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let mutual: ClientTls;

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  node = await IamNode.create({ ca, bundle: build.bundle, softwareTypes: ['cm'] });
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  await node.start();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

describe('a blank node', () => {
  test('[IAM-03] both servers speak plain text', async () => {
    for (const server of ['public', 'protected'] as const) {
      const { version } = await node.client(iamVersion.IAMVersionService, server).getAPIVersion({});
      expect(version).toBe(6n);
    }
    expect((await node.status()).mode).toBe('provisioning');
  });

  test('[IAM-04] tells the system id, the unit model and its version', async () => {
    const info = await node.client(iam.IAMPublicIdentityService, 'public').getSystemInfo({});
    expect(info).toMatchObject({ systemId: 'unit-1', unitModel: 'test-model', version: '1.2.3' });
  });

  test(
    '[IAM-26] [IAM-28] [IAM-08] [IAM-10] is provisioned: tokens owned, keys made, certificates stored, state written',
    async () => {
      expect(await provisionNode(node, ca)).toEqual(['online', 'offline', 'iam', 'sm', 'cm']);
      expect(await readFile(node.statePath, 'utf8')).toBe('provisioned');
      const { certificates } = await node.status();
      expect(certificates.map(({ type }) => type).sort()).toEqual(['cm', 'iam', 'offline', 'online', 'sm']);
    },
    STORY_MS,
  );
});

describe('a provisioned node', () => {
  beforeAll(() => node.restart(), STORY_MS);

  test('[IAM-01] the public server shows the iam certificate and asks for none', async () => {
    const client = node.client(iam.IAMPublicNodesService, 'public', { ca: ca.root });
    expect((await client.getAllNodeIDs({})).ids).toEqual(['main-node']);
    expect(await client.getNodeInfo({ nodeId: 'main-node' })).toMatchObject({ state: 'provisioned' });
  });

  test('[IAM-02] the protected server serves those who show a certificate of the unit', async () => {
    const client = node.client(iam.IAMProvisioningService, 'protected', mutual);
    expect((await client.getCertTypes({})).types).toContain('online');
  });

  test.each<[string, RegExp, () => Promise<ClientTls | undefined>]>([
    ['no certificate', /peer did not return a certificate/, async () => ({ ca: ca.root })],
    [
      'a certificate of another root',
      /the certificate of the client: (SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)/,
      async () => ({ ca: ca.root, identity: await (await TestCa.create('Other Root')).identity('cm') }),
    ],
    ['plain text', /wrong version number/, async () => undefined],
  ])('[IAM-02] [IAM-03] the protected server refuses %s, and says why in its log', async (_, words, tls) => {
    const client = node.client(iam.IAMProvisioningService, 'protected', await tls());
    const { length } = await node.log();
    await expect(client.getCertTypes({}, { timeoutMs: 5000 })).rejects.toBeInstanceOf(ConnectError);
    const refusals = async () =>
      (await node.log())
        .slice(length)
        .split('\n')
        .filter((line) => line.includes('a TLS connection was refused'));
    await until('it says why', refusals, (lines) => lines.some((line) => words.test(line)));
  });

  test('[IAM-37] a renewed certificate is shown at once, on the same port', async () => {
    const before = await shownSerial(node.ports.public, ca.root);
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    const { csr } = expectDone(await certificates.createKey({ type: 'iam' }));
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + 40 * 86_400_000) });
    const { certInfo } = expectDone(await certificates.applyCert({ type: 'iam', cert }));
    const serial = Buffer.from(certInfo!.serial).toString();
    expect(serial).not.toBe(before);
    expect(await shownSerial(node.ports.public, ca.root)).toBe(serial);
    const again = node.client(iam.IAMProvisioningService, 'protected', mutual);
    expect((await again.getCertTypes({})).types).toContain('iam');
  });

  test('[IAM-11] certificates by type, or by issuer and serial number; an unknown one is an INTERNAL status', async () => {
    const certs = node.client(iam.IAMPublicCertService, 'public', { ca: ca.root });
    const current = await certs.getCert({ type: 'online' });
    expect(current).toMatchObject({ type: 'online', serial: new Uint8Array(), issuer: new Uint8Array() });
    expect(current.certUrl).toMatch(
      /^pkcs11:token=aoscloud;object=online;id=(%[0-9A-F]{2}){16}\?module-path=.*&pin-source=/,
    );
    const { serial } = (await node.status()).certificates.find(({ type }) => type === 'online')!;
    const same = await certs.getCert({ type: 'online', issuer: ca.issuerDer, serial: serial.toUpperCase() });
    expect(same.certUrl).toBe(current.certUrl);
    const refusals: [object, RegExp][] = [
      [{ type: 'nothing' }, /certificate type "nothing" is unknown; this node has /],
      [{ type: 'online', serial: 'xyz' }, /serial number "xyz" is not hexadecimal/],
      [{ type: 'online', serial: '01' }, /no certificate of this issuer has the serial number 01/],
    ];
    for (const [request, words] of refusals) {
      const message = expect.stringMatching(words);
      await expect(certs.getCert(request)).rejects.toMatchObject({ code: Code.Internal, message });
    }
  });

  test('[IAM-12] whoever follows a type hears of its new certificate; the stream ends in order with the old one', async () => {
    const followed = (type: string) =>
      node.client(iam.IAMPublicCertService, 'public', { ca: ca.root }).subscribeCertChanged({ type });
    await expect(async () => {
      for await (const _ of followed('nothing')) throw new Error('it told something');
    }).rejects.toMatchObject({ code: Code.Internal, message: expect.stringMatching(/"nothing" is unknown/) });
    const heard: string[] = [];
    const { certificateFollowers: before } = await node.status();
    const end = (async () => {
      for await (const { keyUrl } of followed('iam')) heard.push(keyUrl);
    })();
    await until(
      'it follows',
      () => node.status(),
      (now) => now.certificateFollowers > before,
    );
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    const { csr } = expectDone(await certificates.createKey({ type: 'iam' }));
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + 50 * 86_400_000) });
    expectDone(await certificates.applyCert({ type: 'iam', cert }));
    await end;
    const { keyUrl } = await node.client(iam.IAMPublicCertService, 'public', { ca: ca.root }).getCert({ type: 'iam' });
    expect(heard).toEqual([keyUrl]);
    expect((await node.status()).certificateFollowers).toBe(before);
  });

  test('[IAM-16] [IAM-37] a type with its keys in files: used by a client and by the servers, renewed while they run', async () => {
    const certs = node.client(iam.IAMPublicCertService, 'public', { ca: ca.root });
    const keyPath = async () => {
      const { certUrl, keyUrl } = await certs.getCert({ type: 'cm' });
      expect(certUrl).toMatch(/^file:\/\/\/.*\/cm\.[0-9a-f]{32}\.crt$/);
      return keyUrl.slice('file://'.length);
    };
    const key = await keyPath();
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    const pem = await readFile(key, 'utf8');
    // As every daemon but IAM gets what it shows.
    const ended = new AbortController();
    const credentials = new IamCredentials({
      ...{ publicAddress: `localhost:${node.ports.public}`, caFile: node.at('ca.crt') },
      ...{ logger: silentLogger, signal: ended.signal },
    });
    const identity = await credentials.identity('cm');
    expect(identity.key).toEqual({ kind: 'pem', pem });
    const asCm = () => node.client(iam.IAMProvisioningService, 'protected', { ca: ca.root, identity });
    expect((await asCm().getCertTypes({})).types).toContain('cm');

    await node.writeConfig({ certStorage: 'cm' });
    await node.restart();
    const before = await shownSerial(node.ports.public, ca.root);
    const heard: string[] = [];
    const { certificateFollowers: followers } = await node.status();
    credentials.onChange('cm', ({ keyUrl }) => heard.push(keyUrl));
    await until(
      'it follows',
      () => node.status(),
      (now) => now.certificateFollowers > followers,
    );
    // After its own question, which tells it what is not new.
    await credentials.urls('cm');
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    const { csr } = expectDone(await certificates.createKey({ type: 'cm' }));
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + 40 * 86_400_000) });
    const { certInfo } = expectDone(await certificates.applyCert({ type: 'cm', cert }));
    const serial = Buffer.from(certInfo!.serial).toString();
    expect(serial).not.toBe(before);
    expect(await shownSerial(node.ports.public, ca.root)).toBe(serial);
    await until(
      'the daemon hears of the new key',
      async () => heard.length,
      (count) => count > 0,
    );
    const renewed = await credentials.identity('cm');
    expect(renewed.key).toEqual({ kind: 'pem', pem: await readFile(await keyPath(), 'utf8') });
    expect(renewed.key).not.toEqual(identity.key);
    ended.abort();
    // The old pair stays beside the new one, as in a token.
    expect((await readdir(node.keys)).filter((name) => name.endsWith('.key'))).toHaveLength(2);
    await node.writeConfig();
    await node.restart();
    expect(await node.log()).not.toContain(pem.split('\n')[2]);
    expect(await node.log()).not.toContain('PRIVATE KEY');
  });

  test('[IAM-10] a certificate for no key is refused with a text and an exit code that twins understand', async () => {
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    const other = await TestCa.create('Stranger');
    const { certificateChain } = await other.identity('x');
    const answer = await certificates.applyCert({ type: 'sm', cert: certificateChain });
    expect(answer).toMatchObject({ nodeId: 'main-node', certInfo: { type: 'sm', certUrl: '' } });
    expect(answer.error).toMatchObject({ aosCode: 5, exitCode: 2, message: expect.stringMatching(/no waiting key/) });
    const { csr } = expectDone(await certificates.createKey({ type: 'sm' }));
    const rootless = await certificates.applyCert({ type: 'sm', cert: await ca.sign(csr, { withoutRoot: true }) });
    expect(rootless.error).toMatchObject({ aosCode: 5, exitCode: 2 });
    const evil = await certificates.createKey({ type: 'sm', subject: 'a/O=Evil' });
    expect(evil).toMatchObject({ nodeId: 'main-node', type: 'sm', csr: '', error: { aosCode: 6, exitCode: 22 } });
  });

  test('[IAM-32] [IAM-33] [IAM-34] secrets of instances outlive a restart of IAM', async () => {
    const instance = { itemId: 'item', subjectId: 'subject', instance: 1n };
    const permissions = { vis: { permissions: { speed: 'r' } } };
    const { secret } = await node
      .client(iam.IAMPermissionsService, 'protected', mutual)
      .registerInstance({ instance, permissions });
    await node.restart();
    const open = node.client(iam.IAMPublicPermissionsService, 'public', { ca: ca.root });
    expect(await open.getPermissions({ secret, functionalServerId: 'vis' })).toMatchObject({
      instance,
      permissions: { permissions: { speed: 'r' } },
    });
    await expect(open.getPermissions({ secret: 'guess', functionalServerId: 'vis' })).rejects.toMatchObject({
      code: Code.Internal,
      message: expect.stringMatching(/no instance with this secret has permissions for "vis"/),
    });
    const secrets = node.client(iam.IAMPermissionsService, 'protected', mutual);
    expect((await secrets.registerInstance({ instance, permissions })).secret).toBe(secret);
    await secrets.unregisterInstance({ instance });
    await expect(secrets.unregisterInstance({ instance })).rejects.toMatchObject({
      code: Code.Internal,
      message: expect.stringMatching(/item\/subject\/1 has no permissions registered/),
    });
    expect(await node.log()).not.toContain(secret);
  });

  test('[IAM-01] [IAM-02] the public server does not have what is for the unit alone', async () => {
    const tls = { ca: ca.root };
    const calls = [
      () => node.client(iam.IAMProvisioningService, 'public', tls).getCertTypes({}),
      () => node.client(iam.IAMCertificateService, 'public', tls).createKey({ type: 'iam' }),
      () => node.client(iam.IAMNodesService, 'public', tls).pauseNode({}),
      () => node.client(iam.IAMPermissionsService, 'public', tls).registerInstance({}),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: Code.Unimplemented });
  });

  test('[IAM-07] subjects that change are told to who follows them', async () => {
    const identity = node.client(iam.IAMPublicIdentityService, 'public', { ca: ca.root });
    expect((await identity.getSubjects({})).subjects).toEqual(['subject-1', 'subject-2']);
    const abort = new AbortController();
    const next = (async () => {
      for await (const { subjects } of identity.subscribeSubjectsChanged({}, { signal: abort.signal })) return subjects;
      return undefined;
    })();
    await writeFile(node.at('subjects'), 'subject-3\n');
    expect(await next).toEqual(['subject-3']);
    abort.abort();
  });

  test('[IAM-31] [IAM-18] the own node is paused and resumed; what it says of itself is true at once', async () => {
    const nodes = node.client(iam.IAMNodesService, 'protected', mutual);
    const current = node.client(iam.IAMPublicCurrentNodeService, 'public', { ca: ca.root });
    expectDone(await nodes.pauseNode({}));
    expect(await current.getCurrentNodeInfo({})).toMatchObject({
      nodeId: 'main-node',
      state: 'paused',
      title: 'a node',
      maxDmips: 10_000n,
      attrs: [{ name: 'MainNode' }, { name: 'AosComponents', value: 'cm,iam,sm' }],
    });
    expect(
      (await node.client(iam.IAMPublicNodesService, 'public', { ca: ca.root }).getNodeInfo({ nodeId: 'main-node' }))
        .state,
    ).toBe('paused');
    await node.restart();
    const again = node.client(iam.IAMNodesService, 'protected', mutual);
    expectDone(await again.resumeNode({ nodeId: 'main-node' }));
    expect(await readFile(node.statePath, 'utf8')).toBe('provisioned');
  });

  test('[IAM-35] without permissions nobody serves them', async () => {
    await node.writeConfig({ enablePermissionsHandler: false });
    await node.restart();
    const secrets = node.client(iam.IAMPermissionsService, 'protected', mutual);
    await expect(secrets.registerInstance({})).rejects.toMatchObject({ code: Code.Unimplemented });
    await node.writeConfig();
    await node.restart();
  });

  test('[IAM-38] a state file that says nonsense puts the node into error, which it reports and obeys nothing in', async () => {
    await writeFile(node.statePath, 'nonsense');
    await node.restart();
    const { state, error } = await node
      .client(iam.IAMPublicCurrentNodeService, 'public', { ca: ca.root })
      .getCurrentNodeInfo({});
    expect(state).toBe('error');
    expect(error).toMatchObject({ aosCode: 6, exitCode: 22 });
    const provisioning = node.client(iam.IAMProvisioningService, 'protected', mutual);
    expect((await provisioning.deprovision({})).error).toMatchObject({ aosCode: 9, exitCode: 1 });
    await writeFile(node.statePath, 'provisioned');
    await node.restart();
  });

  test('[IAM-39] on a node of the C++ program, certificates come from the token and nodes from its database', async () => {
    const before = (await node.status()).certificates.map(({ certUrl }) => certUrl).sort();
    await node.stop();
    for (const suffix of ['', '-wal', '-shm']) await rm(node.at('iam', `aos-iam.db${suffix}`), { force: true });
    const former = new DatabaseSync(node.at('iam', 'iamanager.db'));
    former.exec('CREATE TABLE nodeinfo (id TEXT PRIMARY KEY, info TEXT)');
    const info = JSON.stringify({ identity: { codename: 'far-node' }, state: 'provisioned' });
    former.prepare('INSERT INTO nodeinfo VALUES (?, ?)').run('far-node', info);
    former.close();
    await node.start();
    const status = await node.status();
    expect(status.certificates.map(({ certUrl }) => certUrl).sort()).toEqual(before);
    expect(status.nodes).toContainEqual({ nodeId: 'far-node', state: 'provisioned', connected: false });
    await askControl(node.socket, '/forget-node', { nodeId: 'far-node' });
    expect((await node.status()).nodes.map(({ nodeId }) => nodeId)).toEqual(['main-node']);
  });

  test('a unit whose URL settings change keeps its certificates', async () => {
    const modules = [...node.modules()].map((module) => ({
      ...module,
      params: { ...(module.params as object), modulePathInUrl: false },
    }));
    await node.writeConfig({ certModules: modules });
    await node.restart();
    const certs = node.client(iam.IAMPublicCertService, 'public', { ca: ca.root });
    expect((await certs.getCert({ type: 'sm' })).certUrl).not.toMatch(/module-path/);
    await node.writeConfig();
    await node.restart();
  });

  test('[IAM-02] services can be kept for certain certificates of the unit', async () => {
    await node.writeConfig({ authorization: { IAMProvisioningService: ['unit-cm', 'main'] } });
    await node.restart();
    const as = async (name: string) => ({ ca: ca.root, identity: await ca.identity(name) });
    const types = async (name: string) =>
      (await node.client(iam.IAMProvisioningService, 'protected', await as(name)).getCertTypes({})).types;
    expect(await types('unit-cm')).toContain('iam');
    await expect(types('unit-sm')).rejects.toMatchObject({
      code: Code.Internal,
      message: expect.stringMatching(/"unit-sm" is not authorised/),
    });
    const other = node.client(iam.IAMPublicCertService, 'protected', await as('unit-sm'));
    expect((await other.getCert({ type: 'sm' })).type).toBe('sm');
    await node.writeConfig();
    await node.restart();
  });

  test('nothing secret stands in the log', async () => {
    const log = await node.log();
    expect(log).not.toContain(await readFile(node.pinPath, 'utf8'));
    expect(log).not.toContain('secret-1');
  });
});

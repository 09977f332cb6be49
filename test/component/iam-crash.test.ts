/** aos-iam killed at each durable write and each change of the token: what was stored stays usable, nothing is stuck. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { softhsmLibrary } from '../../devenv/token.ts';
import { iam } from '../../src/api/contracts.ts';
import { type ClientTls, readErrorMessage } from '../../src/api/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';

const STORY_MS = 120_000;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let mutual: ClientTls;
let days = 30;

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  node = await IamNode.create({ ca, bundle: build.bundle, softwareTypes: ['cm'] });
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  await node.start();
  await provisionNode(node, ca);
  await node.stop();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

/** Objects in the token with the label `sm`. */
async function objectsOfSm(): Promise<{ keys: number; publicKeys: number; certificates: number }> {
  const pin = await readFile(node.pinPath, 'utf8');
  const list = execFileSync(
    'pkcs11-tool',
    ['--module', softhsmLibrary(), '--token-label', 'aoscore', '--login', '--pin', pin, '--list-objects'],
    {
      encoding: 'utf8',
      env: { ...process.env, SOFTHSM2_CONF: node.at('softhsm2.conf') },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  const count = (kind: RegExp) =>
    list.split(/(?=^\S)/m).filter((part) => kind.test(part) && /label: +sm$/m.test(part)).length;
  return { keys: count(/^Private Key/), publicKeys: count(/^Public Key/), certificates: count(/^Certificate/) };
}

const clients = () => ({
  certificates: node.client(iam.IAMCertificateService, 'protected', mutual),
  publicCerts: node.client(iam.IAMPublicCertService, 'public', { ca: ca.root }),
});

test.each(['iam.pending-key.before-commit', 'iam.pending-key.committed', 'iam.key.create', 'iam.key.created'])(
  '[IAM-17] killed while a key is made, at %s: the next key works, and the token keeps nothing',
  async (point) => {
    await node.start({ AOS_FAULT: point });
    await expect(clients().certificates.createKey({ type: 'sm' }, { timeoutMs: 10_000 })).rejects.toThrow();
    await node.exited();
    await node.start();
    const { certificates } = clients();
    const { csr } = expectDone(await certificates.createKey({ type: 'sm' }));
    days += 1;
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + days * 86_400_000) });
    expectDone(await certificates.applyCert({ type: 'sm', cert }));
    const status = await node.status();
    await node.stop();
    const stored = status.certificates.filter(({ type }) => type === 'sm').length;
    const objects = await objectsOfSm();
    expect(objects.certificates).toBe(stored);
    // A key whose making was interrupted may wait for a certificate that will never come; it goes after 24 hours.
    expect(objects.keys - stored).toBeLessThanOrEqual(1 + INTERRUPTED_MAX);
    expect(objects.publicKeys).toBe(objects.keys);
  },
  STORY_MS,
);

/** One more per kill that left a complete pair behind: those of `iam.key.created`. */
const INTERRUPTED_MAX = 1;

test.each([
  'iam.key.destroy',
  'iam.certificate.import',
  'iam.certificate.imported',
  'iam.certificates.before-commit',
  'iam.certificates.committed',
  'iam.certificates.before-commit#2',
])(
  '[IAM-10] [IAM-17] killed while a certificate is applied, at %s: applied again it is there',
  async (point) => {
    await node.start();
    const { csr } = expectDone(await clients().certificates.createKey({ type: 'sm' }));
    days += 1;
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + days * 86_400_000) });
    await node.stop();
    await node.start({ AOS_FAULT: point });
    await expect(clients().certificates.applyCert({ type: 'sm', cert }, { timeoutMs: 10_000 })).rejects.toThrow();
    await node.exited();
    await node.start();
    const { certificates, publicCerts } = clients();
    // Whatever happened, there is a certificate to go on with.
    expect((await publicCerts.getCert({ type: 'sm' })).certUrl).toMatch(/^pkcs11:/);
    const { certInfo } = expectDone(await certificates.applyCert({ type: 'sm', cert }));
    const current = await publicCerts.getCert({ type: 'sm' });
    expect(current.certUrl).toBe(certInfo!.certUrl);
    const serials = (await node.status()).certificates.filter(({ type }) => type === 'sm').map(({ serial }) => serial);
    expect(serials).toContain(Buffer.from(certInfo!.serial).toString());
    expect(serials.length).toBeLessThanOrEqual(2);
    await node.stop();
  },
  STORY_MS,
);

test.each([
  'iam.key-file.written',
  'iam.key-file.renamed',
  'iam.certificate-file.written',
  'iam.certificate-file.renamed',
])(
  '[IAM-16] [IAM-17] killed while a file is written, at %s: the next key works, and nothing half written stays',
  async (point) => {
    await node.start({ AOS_FAULT: point });
    const renew = async () => {
      const { certificates } = clients();
      const { csr } = expectDone(await certificates.createKey({ type: 'cm' }, { timeoutMs: 10_000 }));
      days += 1;
      const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + days * 86_400_000) });
      return expectDone(await certificates.applyCert({ type: 'cm', cert }, { timeoutMs: 10_000 })).certInfo!;
    };
    await expect(renew()).rejects.toThrow();
    await node.exited();
    await node.start();
    expect((await readdir(node.keys)).filter((name) => name.startsWith('.'))).toEqual([]);
    const { certUrl } = await renew();
    expect((await clients().publicCerts.getCert({ type: 'cm' })).certUrl).toBe(certUrl);
    const stored = (await node.status()).certificates.filter(({ type }) => type === 'cm');
    expect(stored.length).toBeLessThanOrEqual(2);
    await node.stop();
    const files = await readdir(node.keys);
    expect(files.filter((name) => name.endsWith('.crt'))).toHaveLength(stored.length);
    // Keys whose making was interrupted may wait for a certificate; there was one such before each of three kills.
    expect(files.filter((name) => name.endsWith('.key')).length).toBeLessThanOrEqual(stored.length + 3);
  },
  STORY_MS,
);

test.each(['iam.node-state.written', 'iam.node-state.renamed'])(
  '[IAM-31] killed while the node is paused, at %s: it is paused or not, and can be paused',
  async (point) => {
    await node.start({ AOS_FAULT: point });
    await expect(
      node.client(iam.IAMNodesService, 'protected', mutual).pauseNode({}, { timeoutMs: 10_000 }),
    ).rejects.toThrow();
    await node.exited();
    await node.start();
    const nodes = node.client(iam.IAMNodesService, 'protected', mutual);
    expect(['provisioned', 'paused']).toContain((await node.status()).node.state);
    await nodes.pauseNode({});
    expect(await readFile(node.statePath, 'utf8')).toBe('paused');
    expect(readErrorMessage((await nodes.resumeNode({})).error)).toBeUndefined();
    await node.stop();
  },
  STORY_MS,
);

test.each([
  'iam.pin.written',
  'iam.token.init',
  'iam.token.init#2',
  'iam.token.user-pin',
  'iam.key-directory.wipe',
  'iam.key-directory.owner.written',
  'iam.key-directory.owner.renamed',
  'iam.clear.committed',
  'iam.hook',
])(
  '[IAM-26] killed while provisioning starts, at %s: it can be started again and goes through',
  async (point) => {
    const blank = await IamNode.create({ ca, bundle: build.bundle, softwareTypes: ['cm'] });
    try {
      await blank.writeConfig({ startProvisioningCmdArgs: ['true'] });
      await blank.start({ AOS_FAULT: point });
      const provisioning = blank.client(iam.IAMProvisioningService, 'protected');
      await expect(provisioning.startProvisioning({ password: 'secret-1' }, { timeoutMs: 10_000 })).rejects.toThrow();
      await blank.exited();
      await blank.start();
      await provisionNode(blank, ca);
      await blank.restart();
      expect((await blank.status()).mode).toBe('normal');
    } finally {
      await blank.close();
    }
  },
  STORY_MS,
);

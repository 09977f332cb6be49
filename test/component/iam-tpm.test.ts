/** aos-iam with its keys in a TPM 2.0, through the PKCS#11 library of tpm2-pkcs11 (spec/decisions.md IA-30). */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { engineEnvironment } from '../../devenv/token.ts';
import { iam } from '../../src/api/contracts.ts';
import type { ClientTls } from '../../src/api/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { shownSerial } from './shown-serial.ts';
import { SoftTpm, tpmLibrary } from './soft-tpm.ts';
import { TestCa } from './test-ca.ts';

const STORY_MS = 240_000;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let tpm: SoftTpm;
let mutual: ClientTls;

const start = () => node.start({ ...engineEnvironment(tpmLibrary()), ...tpm.env });

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
  node = await IamNode.create({ ca, bundle: build.bundle });
  const modules = node.modules() as { params: Record<string, unknown> }[];
  const library = tpmLibrary();
  await node.writeConfig({
    certModules: modules.map((module) => ({ ...module, params: { ...module.params, library } })),
  });
  tpm = await SoftTpm.start(node.directory);
  await start();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await tpm?.stop();
  await rm(build.directory, { recursive: true, force: true });
});

test(
  '[IAM-16] a node is provisioned with all its keys in the TPM, and serves TLS with them after a restart',
  async () => {
    expect(await provisionNode(node, ca)).toEqual(['online', 'offline', 'iam', 'sm', 'cm']);
    await node.stop();
    await start();
    const certificates = node.client(iam.IAMPublicCertService, 'public', { ca: ca.root });
    const { keyUrl } = await certificates.getCert({ type: 'offline' });
    expect(keyUrl).toMatch(
      /^pkcs11:token=aoscloud;object=offline;id=(%[0-9A-F]{2}){16}\?module-path=.*libtpm2_pkcs11\.so&pin-source=/,
    );
    const provisioning = node.client(iam.IAMProvisioningService, 'protected', mutual);
    expect((await provisioning.getCertTypes({})).types).toContain('iam');
  },
  STORY_MS,
);

test(
  '[IAM-16] a key in the TPM is renewed: the servers show its certificate at once, and after a restart',
  async () => {
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    const { csr } = expectDone(await certificates.createKey({ type: 'iam' }));
    const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + 40 * 86_400_000) });
    const { certInfo } = expectDone(await certificates.applyCert({ type: 'iam', cert }));
    const serial = Buffer.from(certInfo!.serial).toString();
    expect(await shownSerial(node.ports.public, ca.root)).toBe(serial);
    await node.stop();
    await start();
    expect(await shownSerial(node.ports.public, ca.root)).toBe(serial);
  },
  STORY_MS,
);

test(
  '[IAM-16] a key in the TPM whose predecessor had to go: IAM starts over by itself and shows its certificate',
  async () => {
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    let serial = '';
    // Two fit; from the third on the oldest makes room, which the library does not show to this process.
    for (const days of [50, 60]) {
      const { csr } = expectDone(await certificates.createKey({ type: 'iam' }));
      const cert = await ca.sign(csr, { notAfter: new Date(Date.now() + days * 86_400_000) });
      const { certInfo } = expectDone(await certificates.applyCert({ type: 'iam', cert }));
      serial = Buffer.from(certInfo!.serial).toString();
      const ended = await Promise.race([node.exited().then(() => true), sleep(5000, false)]);
      if (ended) {
        await node.stop();
        await start();
        expect(await node.log()).toMatch(/cannot be used by this process; starting over/);
        break;
      }
    }
    expect(await shownSerial(node.ports.public, ca.root)).toBe(serial);
  },
  STORY_MS,
);

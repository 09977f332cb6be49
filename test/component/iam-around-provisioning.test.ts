/** aos-iam around provisioning: hooks, deprovisioning, restarts under way, and where its tokens are found. */
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iam } from '../../src/api/contracts.ts';
import type { ClientTls } from '../../src/api/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';

const STORY_MS = 120_000;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let mutual: ClientTls;

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  mutual = { ca: ca.root, identity: await ca.identity('cm') };
}, STORY_MS);

afterAll(() => rm(build.directory, { recursive: true, force: true }));

describe('what is around provisioning', () => {
  let blank: IamNode;

  beforeAll(async () => {
    blank = await IamNode.create({ ca, bundle: build.bundle });
  });
  afterAll(() => blank?.close());

  test('[IAM-26] [IAM-27] hooks run in their order around the tokens; one that fails is told and repeatable', async () => {
    const note = (word: string) => [
      'sh',
      '-c',
      `echo ${word} >>${blank.at('hooks')}; ls ${blank.pinPath} >>${blank.at('hooks')} 2>&1; test ! -e ${blank.at(word)}`,
    ];
    await blank.writeConfig({
      startProvisioningCmdArgs: note('start'),
      diskEncryptionCmdArgs: note('encrypt'),
      finishProvisioningCmdArgs: note('finish'),
      deprovisionCmdArgs: note('deprovision'),
      certModules: [...blank.modules(), blank.certModule('diskencryption', 'rsa', 1, 'aoscore', { selfSigned: true })],
    });
    await writeFile(blank.at('encrypt'), 'fail');
    await blank.start();
    const provisioning = blank.client(iam.IAMProvisioningService, 'protected');
    expect((await provisioning.startProvisioning({ password: 'secret-3' })).error).toMatchObject({
      aosCode: 2,
      exitCode: 1,
    });
    await rm(blank.at('encrypt'));
    await provisionNode(blank, ca, '', 'secret-3');
    const words = (await readFile(blank.at('hooks'), 'utf8')).split('\n').filter((line) => /^[a-z]+$/.test(line));
    expect(words).toEqual(['start', 'encrypt', 'start', 'encrypt', 'finish']);
    expect(existsSync(blank.at('iam', 'provisioning-under-way'))).toBe(false);
  });

  test('[IAM-14] [IAM-08] the key for disk encryption is there, and nobody outside is told its type', async () => {
    const provisioning = blank.client(iam.IAMProvisioningService, 'protected');
    expect((await provisioning.getCertTypes({})).types).not.toContain('diskencryption');
    const certs = blank.client(iam.IAMPublicCertService, 'public');
    expect((await certs.getCert({ type: 'diskencryption' })).keyUrl).toMatch(/object=diskencryption/);
  });

  test('[IAM-29] [IAM-28] deprovisioned: hook, then no state; the next start is a blank one', async () => {
    await blank.restart();
    expect((await blank.status()).mode).toBe('normal');
    const provisioning = blank.client(iam.IAMProvisioningService, 'protected', mutual);
    await writeFile(blank.at('deprovision'), 'fail');
    expect((await provisioning.deprovision({ password: 'secret-3' })).error).toMatchObject({ aosCode: 2 });
    expect(await readFile(blank.statePath, 'utf8')).toBe('provisioned');
    await rm(blank.at('deprovision'));
    expectDone(await provisioning.deprovision({ password: 'secret-3' }));
    await expect(readFile(blank.statePath)).rejects.toMatchObject({ code: 'ENOENT' });
    await blank.restart();
    expect(await blank.status()).toMatchObject({ mode: 'provisioning', node: { state: 'unprovisioned' } });
  });

  test('[IAM-29] [IAM-26] provisioned again, nothing of before is left', async () => {
    const old = (await blank.status()).certificates.map(({ serial }) => serial);
    const provisioning = blank.client(iam.IAMProvisioningService, 'protected');
    const other = await provisioning.startProvisioning({ password: 'another' });
    expect(other.error).toMatchObject({ aosCode: 9, message: expect.stringMatching(/another password/) });
    expectDone(await provisioning.startProvisioning({ password: 'secret-3' }));
    const now = (await blank.status()).certificates;
    expect(now.map(({ type }) => type)).toEqual(['diskencryption']);
    expect(old).not.toContain(now[0]!.serial);
  });

  test('[IAM-17] a restart between request and certificate loses no key', async () => {
    const key = await blank.client(iam.IAMCertificateService, 'protected').createKey({ type: 'iam' });
    const cert = await ca.sign(expectDone(key).csr);
    await blank.stop('SIGKILL');
    await blank.start();
    expect((await blank.status()).provisioningUnderWay).toBe(true);
    expect(existsSync(blank.at('iam', 'provisioning-under-way'))).toBe(true);
    expectDone(await blank.client(iam.IAMCertificateService, 'protected').applyCert({ type: 'iam', cert }));
  });

  test('in normal mode it does not start without the certificate of its servers', async () => {
    await blank.stop();
    await writeFile(blank.statePath, 'provisioned');
    await blank.writeConfig({ certStorage: 'cm' });
    await expect(blank.start()).rejects.toThrow(/no certificate of type \\?"cm/);
  });
});

describe('tokens', () => {
  test.each([
    ['by index', { slotIndex: 0 }],
    ['by label', { tokenLabel: 'mine' }],
    ['without any, labelled aos', {}],
  ])('[IAM-15] a token is found %s', async (_, selector) => {
    const blank = await IamNode.create({ ca, bundle: build.bundle });
    try {
      const modules = blank.modules().map((module) => {
        const { tokenLabel: _, ...params } = module.params as Record<string, unknown>;
        return { ...module, params: { ...params, ...selector } };
      });
      await blank.writeConfig({ certModules: modules });
      await blank.start();
      await provisionNode(blank, ca);
      await blank.restart();
      const label = 'tokenLabel' in selector ? selector.tokenLabel : 'aos';
      const certs = blank.client(iam.IAMPublicCertService, 'public', { ca: ca.root });
      expect((await certs.getCert({ type: 'iam' })).certUrl).toContain(`pkcs11:token=${label};object=iam;`);
    } finally {
      await blank.close();
    }
  });
});

/** A provisioning that breaks at each of its steps: the same node is provisioned again, with another password, at once or after a restart. */
import { existsSync } from 'node:fs';
import { rm, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { iam } from '../../src/api/contracts.ts';
import { readErrorMessage } from '../../src/api/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';
import { tokenObjects } from './token-objects.ts';

const STORY_MS = 120_000;
const TYPES = 5;

let build: Awaited<ReturnType<typeof buildIam>>;
let ca: TestCa;
let node: IamNode;
let tries = 0;

const provisioning = () => node.client(iam.IAMProvisioningService, 'protected');
const certificates = () => node.client(iam.IAMCertificateService, 'protected');
/** Each try of a tool has a password of its own. */
const newPassword = () => `password-${++tries}`;

const hook = (name: string) => ['sh', '-c', `test ! -e ${node.at(name)}`];

beforeAll(async () => {
  build = await buildIam();
  ca = await TestCa.create();
  node = await IamNode.create({ ca, bundle: build.bundle });
  await node.writeConfig({
    startProvisioningCmdArgs: hook('fail-start'),
    diskEncryptionCmdArgs: hook('fail-encryption'),
    finishProvisioningCmdArgs: hook('fail-finish'),
  });
  await node.start();
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

async function failing(name: string, work: () => Promise<void>): Promise<void> {
  await writeFile(node.at(name), '');
  try {
    await work();
  } finally {
    await rm(node.at(name));
  }
}

const start = async () => expectDone(await provisioning().startProvisioning({ password: newPassword() }));
const refused = (answer: { error?: Parameters<typeof readErrorMessage>[0] }) =>
  expect(readErrorMessage(answer.error)).toBeDefined();

/** What happens until it breaks. */
const BREAKS: readonly (readonly [string, () => Promise<void>])[] = [
  [
    'the hook before',
    () =>
      failing('fail-start', async () => refused(await provisioning().startProvisioning({ password: newPassword() }))),
  ],
  [
    'the encryption of the disk',
    () =>
      failing('fail-encryption', async () =>
        refused(await provisioning().startProvisioning({ password: newPassword() })),
      ),
  ],
  ['the tokens owned, and the tool gone', async () => void (await start())],
  [
    'the first key',
    async () => {
      await start();
      refused(await certificates().createKey({ type: 'online', subject: 'a/b' }));
    },
  ],
  [
    'the registration, with all keys made',
    async () => {
      await start();
      for (const type of (await provisioning().getCertTypes({})).types)
        expectDone(await certificates().createKey({ type }));
    },
  ],
  [
    'a certificate, with others applied',
    async () => {
      await start();
      const { csr } = expectDone(await certificates().createKey({ type: 'online' }));
      expectDone(await certificates().applyCert({ type: 'online', cert: await ca.sign(csr) }));
      expectDone(await certificates().createKey({ type: 'iam' }));
      refused(await certificates().applyCert({ type: 'iam', cert: 'nothing' }));
    },
  ],
  [
    'the hook after',
    () =>
      failing('fail-finish', async () => {
        await start();
        refused(await provisioning().finishProvisioning({}));
      }),
  ],
];

test.each(
  BREAKS.flatMap(([name, breakIt]) => [
    [name, 'at once', breakIt] as const,
    [name, 'after IAM was killed', breakIt] as const,
  ]),
)(
  '[IAM-26] a provisioning that breaks at %s is begun anew %s',
  async (_, when, breakIt) => {
    await breakIt();
    expect((await node.status()).node.state).toBe('unprovisioned');
    expect((await stat(node.at('iam'))).isDirectory()).toBe(true);
    if (when !== 'at once') {
      await node.stop('SIGKILL');
      await node.start();
    }
    expectDone(await provisioning().startProvisioning({ password: newPassword() }));
    // Of the try before nothing is left.
    expect((await node.status()).certificates).toEqual([]);
    expect(await tokenObjects(node, 'aoscore')).toEqual({ privateKeys: 0, publicKeys: 0, certificates: 0 });
  },
  STORY_MS,
);

test(
  '[IAM-26] [IAM-28] after all of that the node is provisioned, and no password stays on it',
  async () => {
    await provisionNode(node, ca, '', newPassword());
    expect(existsSync(node.at('iam', 'provisioning-passwords'))).toBe(false);
    expect((await node.status()).certificates).toHaveLength(TYPES);
    await node.restart();
    expect((await node.status()).mode).toBe('normal');
    expect(await node.log()).not.toMatch(/password-\d/);
  },
  STORY_MS,
);

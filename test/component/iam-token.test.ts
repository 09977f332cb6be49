/** aos-iam whose token is taken away, refuses, or is full: it says so, tries again, and is never started in vain. */
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { softhsmLibrary } from '../../devenv/token.ts';
import { iam } from '../../src/api/contracts.ts';
import type { ClientTls } from '../../src/api/index.ts';
import { ERROR_CODES } from '../../src/core/index.ts';
import { buildIam, expectDone, IamNode, provisionNode } from './iam-node.ts';
import { TestCa } from './test-ca.ts';
import { tokenObjects } from './token-objects.ts';
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
  const library = node.at('pkcs11.so');
  await symlink(softhsmLibrary(), library);
  const modules = node.modules() as { params: object }[];
  await node.writeConfig({
    certModules: modules.map((module) => ({
      ...module,
      params: 'library' in module.params ? { ...module.params, library } : module.params,
    })),
  });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'aos-test', node.at('tokens')]);
  await mkdir(node.keys);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'aos-test', node.keys]);
  await node.start();
  await provisionNode(node, ca);
  await node.restart();
}, STORY_MS);

afterAll(async () => {
  await node?.stop();
  for (const place of ['tokens', 'elsewhere', 'iam/keys']) {
    try {
      execFileSync('umount', ['-l', node.at(place)], { stdio: 'ignore' });
    } catch {
      // It is not mounted there.
    }
  }
  await node?.close();
  await rm(build.directory, { recursive: true, force: true });
});

const createKey = () => node.client(iam.IAMCertificateService, 'protected', mutual).createKey({ type: 'sm' });

const types = async () =>
  (await node.client(iam.IAMProvisioningService, 'protected', mutual).getCertTypes({})).types.length;

/** What the log says from now on. */
async function logSince(): Promise<() => Promise<string>> {
  const { length } = await node.log();
  return async () => (await node.log()).slice(length);
}

/** Starts it without what it needs: it must say so and wait; with it back, it must serve, in the same process. */
async function startsWhenMended(told: RegExp, mend: () => Promise<void>): Promise<string> {
  const log = await logSince();
  const started = node.start();
  started.catch(() => undefined); // Its failure shows below.
  await until(
    'it tells what is missing, twice',
    log,
    (text) => text.split('\n').filter((l) => told.test(l)).length >= 2,
  );
  await mend();
  await started;
  expect(await types()).toBe(5);
  return await log();
}

test(
  '[IAM-39] a token that is taken away is reported; IAM ends once, waits for it, and has every certificate when it is back',
  async () => {
    const before = (await node.status()).certificates;
    const log = await logSince();
    const certificates = node.client(iam.IAMCertificateService, 'protected', mutual);
    expectDone(await certificates.createKey({ type: 'sm' }));
    const inside = node.at('tokens');
    execFileSync('mkdir', [node.at('elsewhere')]);
    execFileSync('mount', ['--move', inside, node.at('elsewhere')]);
    const { error } = await certificates.createKey({ type: 'sm' });
    expect(error).toMatchObject({ message: expect.stringMatching(/token "aoscore"/) });
    await node.exited();
    expect(await log()).toMatch(/a token has disappeared; starting over.*\n/);
    await node.stop();

    const told = await startsWhenMended(/keys of this node cannot be used; trying again/, async () => {
      execFileSync('mount', ['--move', node.at('elsewhere'), inside]);
    });
    expect(told).toMatch(/token \\"[a-z]+\\" with the keys of this node is gone or was wiped/);
    expect((await node.status()).certificates).toEqual(before);
    expectDone(await createKey());
  },
  STORY_MS,
);

test(
  '[IAM-15] a wrong PIN is tried once, not until the token locks itself; with the right one IAM serves',
  async () => {
    const pin = await readFile(node.pinPath, 'utf8');
    await node.stop();
    await writeFile(node.pinPath, 'f'.repeat(pin.length));
    const told = await startsWhenMended(/"error":"token .* has refused the PIN in/, () => writeFile(node.pinPath, pin));
    expect(told.match(/the PIN is wrong/g)).toHaveLength(1);
    expect(told).not.toContain('ffffff');
  },
  STORY_MS,
);

test(
  '[IAM-15] a library that is not there is waited for',
  async () => {
    const library = node.at('pkcs11.so');
    await node.stop();
    await rename(library, `${library}.away`);
    await startsWhenMended(/cannot load the PKCS#11 library/, () => rename(`${library}.away`, library));
  },
  STORY_MS,
);

test(
  '[IAM-16] [IAM-17] a disk that is full, or may not be written to, is reported when a key file is made, keeps nothing half made, and goes on when it may',
  async () => {
    await node.restart();
    const createCm = () => node.client(iam.IAMCertificateService, 'protected', mutual).createKey({ type: 'cm' });
    const before = (await readdir(node.keys)).sort();
    const filler = node.at('iam', 'keys', 'filler');
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })).toThrow();
    const { error } = await createCm();
    expect(error).toMatchObject({
      aosCode: ERROR_CODES.noMemory,
      exitCode: 28,
      message: expect.stringContaining('cannot write'),
    });
    await rm(filler);
    expect((await readdir(node.keys)).sort()).toEqual(before);
    execFileSync('mount', ['-o', 'remount,ro', node.keys]);
    expect((await createCm()).error).toMatchObject({ exitCode: 30, message: expect.stringContaining('cannot write') });
    execFileSync('mount', ['-o', 'remount,rw', node.keys]);
    expect((await readdir(node.keys)).sort()).toEqual(before);
    expectDone(await createCm());
  },
  STORY_MS,
);

test(
  '[IAM-17] a full token is reported, keeps nothing half made, and goes on when there is room',
  async () => {
    await node.restart();
    const objects = () => tokenObjects(node, 'aoscore');
    expectDone(await createKey());
    const before = await objects();
    const filler = node.at('tokens', 'filler');
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })).toThrow();
    const { error } = await createKey();
    const message = 'the token is full or gone (CKR_FUNCTION_FAILED)';
    expect(error).toMatchObject({
      aosCode: ERROR_CODES.runtime,
      exitCode: 6,
      message: expect.stringContaining(message),
    });
    await rm(filler);
    // A library that broke by it is taken anew by a new process.
    await node.restart();
    expect(await objects()).toEqual(before);
    expectDone(await createKey());
    expect((await objects()).privateKeys).toBe(before.privateKeys + 1);
  },
  STORY_MS,
);

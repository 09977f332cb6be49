import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificates } from '../../storage/index.ts';
import { makeCsr } from '../scripted-unit-for-tests.ts';
import { Authority } from './authority.ts';
import { x509 } from './x509.ts';

const DISCOVERY = 'https://cloud.example:9000/sd/v7/';
const YEAR_MS = 365 * 86_400_000;

let directory: string;
let now: Date;

const open = (hostName = 'cloud.example') =>
  Authority.open({ directory, hostName, otherNames: ['127.0.0.1'], now: () => now });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-authority-'));
  now = new Date();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe('an authority', () => {
  test('is the same after a restart', async () => {
    const first = await open();
    const second = await open();
    expect(second.rootPem).toBe(first.rootPem);
    expect(second.server).toEqual(first.server);
    expect(second.operator).toEqual(first.operator);
    expect(second.signer.chainName).toBe(first.signer.chainName);
  });

  test('keeps its keys to itself', async () => {
    await open();
    const keys = (await readdir(directory)).filter((name) => name.endsWith('-key.pem'));
    expect(keys).toHaveLength(6);
    for (const name of keys) expect((await stat(join(directory, name))).mode & 0o077).toBe(0);
  });

  test('makes a new server certificate for a new host name, under the same root', async () => {
    const before = await open();
    const after = await open('other.example');
    expect(after.rootPem).toBe(before.rootPem);
    const certificate = new X509Certificate(after.server.chain);
    expect(certificate.checkHost('other.example')).toBeDefined();
    expect(certificate.checkIP('127.0.0.1')).toBeDefined();
  });

  test('makes a new signer in the last year of the old one, as a chain of another name', async () => {
    const before = await open();
    now = new Date(now.getTime() + 9.5 * YEAR_MS);
    const after = await open();
    expect(after.signer.chainName).not.toBe(before.signer.chainName);
  });

  test('does not start with a key that is not that of its root', async () => {
    await open();
    const other = await makeCsr('x');
    await writeFile(join(directory, 'root-key.pem'), other.key);
    await expect(open()).rejects.toThrow(/do not belong together; restore them/);
  });

  test('survives an interrupted renewal of its server key', async () => {
    await open();
    const other = await makeCsr('x');
    await writeFile(join(directory, 'server-key.pem'), other.key);
    expect(new X509Certificate((await open()).server.chain).checkHost('cloud.example')).toBeDefined();
  });
});

describe('certificates of units', () => {
  const issue = async (type: string, csr: string) =>
    (await open()).issueForUnit({ csr, systemId: 'unit-1', type, discoveryUrl: DISCOVERY });

  test('a chain is leaf, unit CA and root, each signed by the next, for ten years', async () => {
    const { csr } = await makeCsr('unit-1');
    const { chain, serial, fingerprint } = await issue('cm', csr);
    const [leaf, ca, root] = parseCertificates(chain) as [X509Certificate, X509Certificate, X509Certificate];
    expect(leaf.subject).toBe('CN=unit-1-cm');
    expect(leaf.verify(ca.publicKey) && ca.verify(root.publicKey) && root.verify(root.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.serialNumber.toLowerCase()).toBe(serial);
    expect(leaf.fingerprint256.replaceAll(':', '')).toBe(fingerprint);
    expect(new Date(leaf.validTo).getTime() - now.getTime()).toBeGreaterThan(9.9 * YEAR_MS);
    // Units take 2048 bytes of DER and 16 KiB of text (spec/cloud-protocol.md 11).
    expect(Math.max(leaf.raw.length, ca.raw.length, root.raw.length)).toBeLessThan(2048);
  });

  test('names and usages are as asked', async () => {
    const { csr } = await makeCsr('unit-1', ['localhost', 'main']);
    const leaf = new X509Certificate((await issue('iam', csr)).chain);
    expect(leaf.subjectAltName).toBe('DNS:localhost, DNS:main');
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  test('no unit gets a name of its cloud, nor one that stands for it; what means any host is no such name', async () => {
    const authority = await open('cloud.fleet.example');
    for (const name of ['cloud.fleet.example', '*.fleet.example']) {
      const { csr } = await makeCsr('unit-1', [name]);
      const request = { csr, systemId: 'unit-1', type: 'iam', discoveryUrl: DISCOVERY };
      await expect(authority.issueForUnit(request)).rejects.toThrow(
        'the certificate request "iam" of unit-1 asks for cloud.fleet.example, which is this cloud: a unit could pass for it',
      );
    }
    const { csr } = await makeCsr('unit-1', ['127.0.0.1', 'example']);
    await expect(issue('iam', csr)).resolves.toBeDefined();
  });

  test('the online certificate says where the cloud is', async () => {
    const { csr } = await makeCsr('unit-1');
    const { chain } = await issue('online', csr);
    expect(new X509Certificate(chain).subject).toBe('CN=unit-1-online\nO=cloud.example');
    const names = new x509.X509Certificate(chain).getExtension(x509.IssuerAlternativeNameExtension);
    expect(names?.names.toJSON()).toEqual([{ type: 'url', value: DISCOVERY }]);
  });

  test('RSA keys are signed too', async () => {
    const { csr } = await makeCsr('unit-1', [], 'rsa');
    expect(new X509Certificate((await issue('offline', csr)).chain).publicKey.asymmetricKeyType).toBe('rsa');
  });

  test('a request that is broken, or not signed by its own key, is refused by name', async () => {
    await expect(issue('sm', 'nonsense')).rejects.toThrow(/the certificate request "sm" of unit-1 cannot be read/);
    const { csr } = await makeCsr('unit-1');
    const der = Buffer.from(csr.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    der[der.length - 5]! ^= 1;
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    await expect(issue('sm', forged)).rejects.toThrow(/is not signed by its own key|cannot be read/);
  });
});

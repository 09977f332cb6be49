/** A certificate authority made on the spot: signs requests as the cloud does, and makes identities of peers. */
import 'reflect-metadata';
import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { TlsIdentity } from '../../src/api/index.ts';

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface IssueOptions {
  readonly notAfter?: Date;
  /** Leave the root out of the chain. */
  readonly withoutRoot?: boolean;
}

export interface IdentityOptions {
  readonly notAfter?: Date;
  readonly namedCurve?: 'P-256' | 'P-384';
}

export class TestCa {
  readonly #root: Authority;
  readonly #intermediate: Authority;

  private constructor(root: Authority, intermediate: Authority) {
    this.#root = root;
    this.#intermediate = intermediate;
  }

  static async create(name = 'Test Root'): Promise<TestCa> {
    const root = await makeAuthority(name);
    return new TestCa(root, await makeAuthority(`${name} Unit CA`, root));
  }

  /** PEM. */
  get root(): string {
    return `${this.#root.certificate.toString('pem')}\n`;
  }

  get issuerDer(): Buffer {
    return Buffer.from(this.#intermediate.certificate.subjectName.toArrayBuffer());
  }

  /** Signs a request; the chain is leaf, intermediate, root. Extensions are copied, as the cloud does. */
  async sign(csrPem: string, options: IssueOptions = {}): Promise<string> {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    if (!(await request.verify())) throw new Error('the request is not signed by its own key');
    return this.#chain(
      await this.#issue(request.subject, await request.publicKey.export(), request.extensions, options.notAfter),
      options.withoutRoot,
    );
  }

  /** A peer with a key of its own, for localhost. */
  async identity(name: string, { notAfter, namedCurve = 'P-256' }: IdentityOptions = {}): Promise<TlsIdentity> {
    const algorithm = { ...ALGORITHM, namedCurve };
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const names = new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'localhost' }]);
    const leaf = await this.#issue(`CN=${name}`, keys.publicKey, [names], notAfter);
    const pem = KeyObject.from(keys.privateKey as webcrypto.CryptoKey).export({ format: 'pem', type: 'pkcs8' });
    return { certificateChain: this.#chain(leaf), key: { kind: 'pem', pem: String(pem) } };
  }

  #issue(
    subject: string,
    publicKey: webcrypto.CryptoKey,
    extensions: x509.Extension[],
    notAfter = new Date(Date.now() + 30 * DAY_MS),
  ): Promise<x509.X509Certificate> {
    return x509.X509CertificateGenerator.create({
      serialNumber: `00${randomBytes(10).toString('hex').replace(/^./, 'a')}`,
      subject,
      issuer: this.#intermediate.certificate.subject,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter,
      publicKey: publicKey as unknown as x509.PublicKeyType,
      signingKey: this.#intermediate.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions,
    });
  }

  #chain(leaf: x509.X509Certificate, withoutRoot = false): string {
    const chain = [leaf, this.#intermediate.certificate, ...(withoutRoot ? [] : [this.#root.certificate])];
    return chain.map((certificate) => `${certificate.toString('pem')}\n`).join('');
  }
}

async function makeAuthority(name: string, issuer?: Authority): Promise<Authority> {
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    subject: `CN=${name}`,
    issuer: issuer?.certificate.subject ?? `CN=${name}`,
    notBefore: new Date(Date.now() - 2 * DAY_MS),
    notAfter: new Date(Date.now() + 60 * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return { certificate, keys };
}

/**
 * The certificate authority of a cloud: a root, below it one unit CA that signs everything
 * (spec/decisions.md PR-02). Keys and certificates are files; what is missing is made.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { ensureDirectory, writeFileAtomic } from '../../storage/index.ts';
import { type CertificateRequest, type Issuer, issueCertificate } from './issue.ts';
import { exportKey, fingerprintOf, generateKeys, importSigningKey, type KeyKind, x509 } from './x509.ts';

const ROOT_DAYS = 10_950;
const UNIT_CA_DAYS = 9125;
/** Ten years (spec/decisions.md PR-02). */
const LEAF_DAYS = 3650;
/** Of a person or program. */
const USER_DAYS = 730;
/** A server or signing certificate with less left is made anew at the start. */
const RENEW_BEFORE_MS = 365 * 86_400_000;
const MAX_CSR_CHARACTERS = 4096;
const ORGANISATION = 'aoscore';
/** Subject alternative name and extended key usage. */
const COPIED_EXTENSIONS = ['2.5.29.17', '2.5.29.37'];

export interface AuthorityOptions {
  readonly directory: string;
  readonly hostName: string;
  /** Other names and addresses of the servers. */
  readonly otherNames: readonly string[];
  readonly now: () => Date;
}

/** A certificate chain with its key, as files hold it. */
export interface Credential {
  /** PEM, leaf first, without the root. */
  readonly chain: string;
  readonly key: string;
}

/** What signs blobs (spec/cloud-protocol.md 8.3). */
export interface BlobSigner {
  readonly chainName: string;
  readonly key: KeyObject;
  /** The signing certificate, then intermediates. */
  readonly certificates: readonly { readonly fingerprint: string; readonly der: Buffer }[];
}

/** What signs bundles (docs/decisions/0014-bundles.md). */
export interface BundleSigner {
  readonly key: KeyObject;
  /** DER: the signing certificate, then intermediates. */
  readonly certificates: readonly Buffer[];
}

export interface IssuedCertificate {
  readonly fingerprint: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** PEM: leaf, unit CA, root. */
  readonly chain: string;
  readonly notAfter: Date;
}

export interface UnitCertificateRequest {
  readonly csr: string;
  readonly systemId: string;
  readonly type: string;
  /** Where the unit finds its cloud; written into the `online` certificate. */
  readonly discoveryUrl: string;
}

export class Authority {
  readonly rootPem: string;
  readonly server: Credential;
  readonly operator: Credential;
  readonly signer: BlobSigner;
  readonly bundleSigner: BundleSigner;
  readonly #unitCa: Issuer;
  readonly #unitCaPem: string;
  readonly #options: AuthorityOptions;

  private constructor(
    options: AuthorityOptions,
    rootPem: string,
    unitCa: Issuer,
    parts: Readonly<Record<'server' | 'operator' | 'signer' | 'bundleSigner', Credential>>,
  ) {
    this.#options = options;
    this.rootPem = rootPem;
    this.#unitCa = unitCa;
    this.#unitCaPem = pemOf(unitCa.certificate);
    this.server = parts.server;
    this.operator = parts.operator;
    const leaf = new X509Certificate(parts.signer.chain);
    const certificates = [leaf.raw, Buffer.from(unitCa.certificate.rawData)];
    this.signer = {
      // Named after its certificate, so that a renewed signer is another chain.
      chainName: `items-${fingerprintOf(leaf.raw).slice(0, 16)}`,
      key: createPrivateKey(parts.signer.key),
      certificates: certificates.map((der) => ({ der, fingerprint: fingerprintOf(der) })),
    };
    this.bundleSigner = {
      key: createPrivateKey(parts.bundleSigner.key),
      certificates: [new X509Certificate(parts.bundleSigner.chain).raw, Buffer.from(unitCa.certificate.rawData)],
    };
  }

  /** Loads the authority of a directory; makes what is missing there. */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const { directory, hostName } = options;
    await ensureDirectory(directory, 0o700);
    const files = new CredentialFiles(options);
    const rootSubject: x509.JsonName = [{ CN: [`${ORGANISATION} root of ${hostName}`] }, { O: [ORGANISATION] }];
    const root = await files.issuer('root', { subject: rootSubject, validDays: ROOT_DAYS, pathLength: 1 });
    const unitCa = await files.issuer(
      'unit-ca',
      { subject: [{ CN: ['unit CA'] }, { O: [ORGANISATION] }], validDays: UNIT_CA_DAYS, pathLength: 0 },
      root,
    );
    const names = namesOf(options);
    const server = await files.leaf('server', 'ec', unitCa, {
      subject: [{ CN: [hostName] }, { O: [ORGANISATION] }],
      extensions: [
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
        ),
      ],
      fits: (certificate) => names.every((name) => isNamed(certificate, name)),
    });
    const operator = await files.leaf('operator', 'ec', unitCa, {
      subject: [{ CN: ['operator'] }, { O: [hostName] }, { OU: ['OEM'] }],
      extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])],
    });
    const signer = await files.leaf('signer', 'rsa', unitCa, {
      subject: [{ CN: ['item signer'] }, { O: [ORGANISATION] }],
    });
    // Of its own, since only its certificate says that it may: whatever else this authority signs cannot sign bundles.
    const bundleSigner = await files.leaf('bundle-signer', 'rsa', unitCa, {
      subject: [{ CN: ['bundle signer'] }, { O: [ORGANISATION] }],
      extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning])],
    });
    const rootPem = pemOf(root.certificate);
    return new Authority(options, rootPem, unitCa, { server, operator, signer, bundleSigner });
  }

  /** A certificate for a person or program, with a new key that is kept nowhere. */
  async issueForUser(name: string, role: string): Promise<IssuedCertificate & { readonly key: string }> {
    const keys = await generateKeys('ec');
    const certificate = await issueCertificate(
      {
        subject: [{ CN: [name] }, { O: [this.#options.hostName] }, { OU: [role] }],
        publicKey: keys.publicKey,
        validDays: USER_DAYS,
        extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])],
        now: this.#options.now(),
      },
      this.#unitCa,
    );
    return {
      fingerprint: fingerprintOf(Buffer.from(certificate.rawData)),
      serial: certificate.serialNumber.toLowerCase(),
      chain: pemOf(certificate) + this.#unitCaPem,
      key: await exportKey(keys.privateKey),
      notAfter: certificate.notAfter,
    };
  }

  /**
   * Signs a request of a unit (spec/decisions.md PR-02): subject of our own, alternative names and usages as asked.
   * Throws `invalidArgument` for a request that is broken, is not signed by its key, or has a name of this cloud.
   */
  async issueForUnit(request: UnitCertificateRequest): Promise<IssuedCertificate> {
    const { systemId, type, discoveryUrl } = request;
    const csr = await readCsr(request.csr, `the certificate request "${type}" of ${systemId}`);
    const isOnline = type === 'online';
    const asked = COPIED_EXTENSIONS.map((id) => csr.getExtension(id)).filter((extension) => extension !== null);
    const certificate = await issueCertificate(
      {
        subject: [{ CN: [`${systemId}-${type}`] }, ...(isOnline ? [{ O: [this.#options.hostName] }] : [])],
        publicKey: csr.publicKey,
        validDays: LEAF_DAYS,
        extensions: [
          ...asked,
          ...(isOnline ? [new x509.IssuerAlternativeNameExtension([{ type: 'url', value: discoveryUrl }])] : []),
        ],
        now: this.#options.now(),
      },
      this.#unitCa,
    );
    const signed = new X509Certificate(Buffer.from(certificate.rawData));
    const taken = namesOf(this.#options).find((name) => !meansTheHostItself(name) && isNamed(signed, name));
    if (taken !== undefined) {
      throw new AosError(
        'invalidArgument',
        `the certificate request "${type}" of ${systemId} asks for ${taken}, which is this cloud: a unit could pass for it`,
      );
    }
    return {
      fingerprint: fingerprintOf(signed.raw),
      serial: certificate.serialNumber.toLowerCase(),
      chain: pemOf(certificate) + this.#unitCaPem + this.rootPem,
      notAfter: certificate.notAfter,
    };
  }
}

async function readCsr(pem: string, what: string): Promise<x509.Pkcs10CertificateRequest> {
  if (pem.length > MAX_CSR_CHARACTERS) {
    throw new AosError(
      'invalidArgument',
      `${what} has ${pem.length} characters, expected at most ${MAX_CSR_CHARACTERS}`,
    );
  }
  let csr: x509.Pkcs10CertificateRequest;
  let signed: boolean;
  try {
    csr = new x509.Pkcs10CertificateRequest(pem);
    signed = await csr.verify();
  } catch (error) {
    throw new AosError('invalidArgument', `${what} cannot be read: ${asAosError(error).message}`, { cause: error });
  }
  if (!signed) throw new AosError('invalidArgument', `${what} is not signed by its own key`);
  const usages = csr.getExtension('2.5.29.37');
  if (usages && new x509.ExtendedKeyUsageExtension(usages.rawData).usages.includes(x509.ExtendedKeyUsage.codeSigning)) {
    throw new AosError('invalidArgument', `${what} asks for code signing, which is for bundles of this cloud alone`);
  }
  return csr;
}

/** Names and addresses of the servers of a cloud. */
const namesOf = ({ hostName, otherNames }: AuthorityOptions): string[] => [...new Set([hostName, ...otherNames])];

/** A unit on the same host uses these, too. */
const meansTheHostItself = (name: string): boolean => name === 'localhost' || name === '::1' || /^127\./.test(name);

const isNamed = (certificate: X509Certificate, name: string): boolean =>
  (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined;

const pemOf = (certificate: x509.X509Certificate): string => `${certificate.toString('pem').trimEnd()}\n`;

/** Not so when a renewal was interrupted between key and certificate. */
function isPair({ chain, key }: Credential): boolean {
  return new X509Certificate(chain).checkPrivateKey(createPrivateKey(key));
}

type LeafRequest = Pick<CertificateRequest, 'subject' | 'extensions'> & {
  /** Whether a stored certificate still says what it should. */
  readonly fits?: (certificate: X509Certificate) => boolean;
};

/** `<name>-key.pem` and `<name>.pem` in the directory. The key comes first: a certificate means that both are there. */
class CredentialFiles {
  readonly #options: AuthorityOptions;

  constructor(options: AuthorityOptions) {
    this.#options = options;
  }

  async issuer(name: string, request: Omit<CertificateRequest, 'publicKey' | 'now'>, parent?: Issuer): Promise<Issuer> {
    const stored = await this.#read(name);
    if (stored) {
      if (!isPair(stored)) {
        throw new AosError(
          'wrongState',
          `${this.#paths(name).join(' and ')} do not belong together; restore them, units trust no other authority`,
        );
      }
      return { certificate: new x509.X509Certificate(stored.chain), key: await importSigningKey(stored.key) };
    }
    const keys = await generateKeys('ec');
    const key = await exportKey(keys.privateKey);
    const certificate = await issueCertificate(
      { ...request, publicKey: keys.publicKey, now: this.#options.now() },
      parent ?? { selfSignedWith: keys.privateKey },
    );
    await this.#write(name, { chain: pemOf(certificate), key });
    return { certificate, key: await importSigningKey(key) };
  }

  async leaf(name: string, kind: KeyKind, issuer: Issuer, request: LeafRequest): Promise<Credential> {
    const stored = await this.#read(name);
    if (stored && isPair(stored) && this.#isGood(new X509Certificate(stored.chain), request)) return stored;
    const keys = await generateKeys(kind);
    const certificate = await issueCertificate(
      {
        subject: request.subject,
        publicKey: keys.publicKey,
        validDays: LEAF_DAYS,
        extensions: request.extensions ?? [],
        now: this.#options.now(),
      },
      issuer,
    );
    const credential = {
      chain: pemOf(certificate) + pemOf(issuer.certificate),
      key: await exportKey(keys.privateKey),
    };
    await this.#write(name, credential);
    return credential;
  }

  #isGood(certificate: X509Certificate, { fits }: LeafRequest): boolean {
    const leftMs = new Date(certificate.validTo).getTime() - this.#options.now().getTime();
    return leftMs > RENEW_BEFORE_MS && (fits?.(certificate) ?? true);
  }

  async #read(name: string): Promise<Credential | undefined> {
    const [chain, key] = this.#paths(name);
    if (!existsSync(chain)) return undefined;
    return { chain: await readFile(chain, 'utf8'), key: await readFile(key, 'utf8') };
  }

  async #write(name: string, { chain, key }: Credential): Promise<void> {
    const [chainPath, keyPath] = this.#paths(name);
    await writeFileAtomic(keyPath, key, { mode: 0o600, faultName: 'cloud.pki.key' });
    await writeFileAtomic(chainPath, chain, { faultName: 'cloud.pki.certificate' });
  }

  #paths(name: string): [chain: string, key: string] {
    const { directory } = this.#options;
    return [join(directory, `${name}.pem`), join(directory, `${name}-key.pem`)];
  }
}

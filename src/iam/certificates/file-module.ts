/** One certificate type whose keys are files: each with its certificate and the issuers beside it (docs/keys.md). */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import type { TlsIdentity } from '../../api/index.ts';
import { AosError, faultPoint, type Logger } from '../../core/index.ts';
import { toPem } from '../../platform/token/index.ts';
import { syncDirectorySync, writeFileAtomicSync } from '../../storage/index.ts';
import type { SoftwareModuleConfig } from '../config/iam-config.ts';
import type { CertificateRecord } from '../store/iam-store.ts';
import type { CertificateModule } from './certificate-module.ts';
import { makeRequest, makeSelfSigned, SELF_SIGNED_NAME, type Signer } from './certificate-request.ts';
import { type Chain, names, publicKeyOf } from './chain.ts';
import type { KeyDirectory, KeyFileName } from './key-directory.ts';
import { readSecretFile, SECRET_MODE } from './secret-file.ts';
import type { ScannedObject } from './token-scan.ts';

const CERTIFICATE_MODE = 0o644;
const FIRST_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/;

const generate = promisify(generateKeyPair);

export class FileModule implements CertificateModule {
  readonly config: SoftwareModuleConfig;
  readonly place: KeyDirectory;
  readonly #logger: Logger;

  constructor(config: SoftwareModuleConfig, place: KeyDirectory, logger: Logger) {
    this.config = config;
    this.place = place;
    this.#logger = logger;
  }

  get type(): string {
    return this.config.id;
  }

  recordOf(certificate: X509Certificate, keyId: Uint8Array): CertificateRecord {
    const { issuer, serial } = names(certificate);
    return {
      type: this.type,
      issuer,
      serial,
      certUrl: `file://${this.#path(keyId, 'crt')}`,
      keyUrl: `file://${this.#path(keyId, 'key')}`,
      notAfterMs: certificate.validToDate.getTime(),
      keyId: Buffer.from(keyId),
    };
  }

  scan(): ScannedObject[] {
    return this.place
      .files()
      .filter(({ type }) => type === this.type)
      .flatMap((file) => (file.kind === 'key' ? this.#scanKey(file) : this.#scanCertificate(file)));
  }

  async createKey(keyId: Uint8Array): Promise<void> {
    faultPoint('iam.key.create');
    const { privateKey } =
      this.config.algorithm === 'rsa'
        ? await generate('rsa', { modulusLength: 2048, publicExponent: 65_537 })
        : await generate('ec', { namedCurve: 'P-384' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    writeFileAtomicSync(this.#path(keyId, 'key'), pem, { mode: SECRET_MODE, faultName: 'iam.key-file' });
    faultPoint('iam.key.created');
  }

  request(keyId: Uint8Array, commonName: string): string {
    const { alternativeNames, extendedKeyUsage } = this.config;
    return makeRequest({ commonName, alternativeNames, extendedKeyUsage }, this.#signer(keyId));
  }

  selfSigned(keyId: Uint8Array, now: Date): X509Certificate {
    return new X509Certificate(makeSelfSigned(SELF_SIGNED_NAME, now, this.#signer(keyId)));
  }

  publicKey(keyId: Uint8Array): Buffer | undefined {
    const text = readSecretFile(this.#path(keyId, 'key'));
    return text === undefined ? undefined : spkiOf(this.#parse(text, keyId));
  }

  hasCertificate({ keyId }: CertificateRecord): boolean {
    return existsSync(this.#path(keyId, 'crt')) && existsSync(this.#path(keyId, 'key'));
  }

  /** One file, so that the chain is complete or not there. */
  import({ leaf, issuers }: Chain, keyId: Uint8Array): void {
    faultPoint('iam.certificate.import');
    const pem = toPem([leaf, ...issuers].map(({ raw }) => raw));
    writeFileAtomicSync(this.#path(keyId, 'crt'), pem, {
      mode: CERTIFICATE_MODE,
      faultName: 'iam.certificate-file',
    });
    faultPoint('iam.certificate.imported');
  }

  destroy(keyId: Uint8Array): void {
    faultPoint('iam.key.destroy');
    // The certificate goes first: without it the key is a leftover that the next scan finds.
    for (const kind of ['crt', 'key'] as const) rmSync(this.#path(keyId, kind), { force: true });
    syncDirectorySync(this.place.path);
  }

  identity({ keyId }: CertificateRecord): TlsIdentity {
    const certificateChain = readFileSync(this.#path(keyId, 'crt'), 'utf8');
    const pem = readSecretFile(this.#path(keyId, 'key'));
    if (pem === undefined) throw this.#noKey(keyId, 'is gone');
    return { certificateChain, key: { kind: 'pem', pem } };
  }

  #path(keyId: Uint8Array, kind: KeyFileName['kind']): string {
    return this.place.pathOf({ type: this.type, keyId: Buffer.from(keyId).toString('hex'), kind });
  }

  /** A key has its public half in it; what is no key has none, and so belongs to no valid set. */
  #scanKey({ keyId }: KeyFileName): ScannedObject[] {
    const found = { kind: 'privateKey', keyId } as const;
    const id = Buffer.from(keyId, 'hex');
    const text = readSecretFile(this.#path(id, 'key'));
    if (text === undefined) return [];
    try {
      this.#parse(text, id);
      return [found, { kind: 'publicKey', keyId }];
    } catch (error) {
      this.#logger.warn({ type: this.type, error: (error as Error).message }, 'a file that should hold a key does not');
      return [found];
    }
  }

  #scanCertificate({ keyId }: KeyFileName): ScannedObject[] {
    const id = Buffer.from(keyId, 'hex');
    const path = this.#path(id, 'crt');
    const found = { kind: 'certificate', keyId } as const;
    try {
      const [pem = ''] = FIRST_CERTIFICATE.exec(readFileSync(path, 'utf8')) ?? [];
      const leaf = new X509Certificate(pem);
      const key = this.publicKey(id);
      if (key !== undefined && !key.equals(publicKeyOf(leaf))) throw new Error('it belongs to another key');
      return [{ ...found, record: this.recordOf(leaf, id) }];
    } catch (error) {
      this.#logger.warn({ type: this.type, path, error: String(error) }, 'a certificate file cannot be used');
      return [found];
    }
  }

  #signer(keyId: Uint8Array): Signer {
    const text = readSecretFile(this.#path(keyId, 'key'));
    if (text === undefined) throw this.#noKey(keyId, 'is gone');
    const key = this.#parse(text, keyId);
    const kind = key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec';
    return {
      kind,
      publicKey: spkiOf(key),
      sign: (message) => sign(kind === 'rsa' ? 'sha256' : 'sha384', message, key),
    };
  }

  /** What OpenSSL says stays out of the error: it is about bytes that may be secret. */
  #parse(text: string, keyId: Uint8Array): KeyObject {
    let key: KeyObject | undefined;
    try {
      key = createPrivateKey(text);
    } catch {
      throw this.#noKey(keyId, 'holds no private key');
    }
    if (key.asymmetricKeyType === 'rsa' || key.asymmetricKeyType === 'ec') return key;
    throw this.#noKey(keyId, `holds a key of the kind ${key.asymmetricKeyType}, expected RSA or EC`);
  }

  #noKey(keyId: Uint8Array, what: string): AosError {
    return new AosError('invalidArgument', `${this.#path(keyId, 'key')} ${what}; renew the key "${this.type}"`);
  }
}

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

/** One certificate type in its token: keys, requests, certificates (spec/iam.md 9, 10.6, 10.7). */
import { randomBytes, X509Certificate } from 'node:crypto';
import type { TlsIdentity } from '../../api/index.ts';
import { AosError, faultPoint, type Logger } from '../../core/index.ts';
import {
  engineUri,
  formatTokenUrl,
  parseObjectUrl,
  readChain,
  type TokenObject,
  type TokenSession,
  toPem,
} from '../../platform/token/index.ts';
import type { Pkcs11ModuleConfig } from '../config/iam-config.ts';
import type { CertificateRecord } from '../store/iam-store.ts';
import type { CertificateModule } from './certificate-module.ts';
import { makeRequest, makeSelfSigned, SELF_SIGNED_NAME, type Signer } from './certificate-request.ts';
import { type Chain, names } from './chain.ts';
import type { OwnedToken } from './owned-token.ts';
import type { ScannedObject } from './token-scan.ts';

export class KeyModule implements CertificateModule {
  readonly config: Pkcs11ModuleConfig;
  readonly token: OwnedToken;
  readonly #logger: Logger;

  constructor(config: Pkcs11ModuleConfig, token: OwnedToken, logger: Logger) {
    this.config = config;
    this.token = token;
    this.#logger = logger;
  }

  get type(): string {
    return this.config.id;
  }

  get place(): OwnedToken {
    return this.token;
  }

  /** Where others find the key and the certificate with this id. */
  urlOf(keyId: Uint8Array): string {
    const { library, modulePathInUrl } = this.config.params;
    return formatTokenUrl({
      token: this.token.label,
      object: this.type,
      id: Buffer.from(keyId),
      ...(modulePathInUrl ? { modulePath: library } : {}),
      pinSource: this.token.pinSource,
    });
  }

  /** What the database keeps of a certificate of this type. */
  recordOf(certificate: X509Certificate, keyId: Uint8Array): CertificateRecord {
    const { issuer, serial } = names(certificate);
    const url = this.urlOf(keyId);
    return {
      type: this.type,
      issuer,
      serial,
      certUrl: url,
      keyUrl: url,
      notAfterMs: certificate.validToDate.getTime(),
      keyId: Buffer.from(keyId),
    };
  }

  /** Objects of this type; a certificate that cannot be read counts as one without a record. */
  scan(): ScannedObject[] {
    return this.token.use((session) =>
      session.list({ label: this.type }).map((object) => ({
        kind: object.kind,
        keyId: object.id.toString('hex'),
        ...(object.kind === 'certificate' ? this.#recordOfObject(session, object) : {}),
      })),
    );
  }

  /** A new key pair that never leaves the token; answers its id. */
  async createKey(keyId: Uint8Array): Promise<void> {
    const { algorithm } = this.config;
    faultPoint('iam.key.create');
    await this.token.useForLong(async (session) => {
      // Of a first try in a session that was lost.
      for (const object of session.list({ id: keyId, label: this.type })) session.destroy(object);
      await session.generateKeyPair(
        algorithm === 'rsa' ? { kind: 'rsa', bits: 2048 } : { kind: 'ec', curve: 'P-384' },
        keyId,
        this.type,
      );
    });
    faultPoint('iam.key.created');
  }

  request(keyId: Uint8Array, commonName: string): string {
    const { alternativeNames, extendedKeyUsage } = this.config;
    return this.token.use((session) =>
      makeRequest({ commonName, alternativeNames, extendedKeyUsage }, this.#signer(session, keyId)),
    );
  }

  selfSigned(keyId: Uint8Array, now: Date): X509Certificate {
    return this.token.use(
      (session) => new X509Certificate(makeSelfSigned(SELF_SIGNED_NAME, now, this.#signer(session, keyId))),
    );
  }

  /** SPKI (DER) of a key, undefined when its public half is gone. */
  publicKey(keyId: Uint8Array): Buffer | undefined {
    return this.token.use((session) => {
      const [object] = session.list({ kind: 'publicKey', id: keyId, label: this.type });
      return object && session.publicKey(object);
    });
  }

  hasCertificate(record: CertificateRecord): boolean {
    return this.token.use(
      (session) => session.list({ kind: 'certificate', id: record.keyId, label: this.type }).length > 0,
    );
  }

  /** Issuers first: once the leaf is there, the chain is complete. */
  import({ leaf, issuers }: Chain, keyId: Uint8Array): void {
    this.token.use((session) => {
      const known = session.list({ kind: 'certificate' }).map((object) => session.certificate(object));
      for (const issuer of issuers) {
        // By all of it: an authority that was made anew may count its certificates from the beginning again.
        if (known.some((der) => der.equals(issuer.raw))) continue;
        faultPoint('iam.certificate.import-issuer');
        session.importCertificate(issuer.raw, randomBytes(16), '');
      }
      faultPoint('iam.certificate.import');
      session.importCertificate(leaf.raw, keyId, this.type);
      faultPoint('iam.certificate.imported');
    });
  }

  /** Destroys everything with this id and the label of the type; what is gone already is no failure. */
  destroy(keyId: Uint8Array): void {
    faultPoint('iam.key.destroy');
    this.token.use((session) => {
      // The certificate goes first: without it the rest is a leftover that the next scan finds.
      for (const kind of ['certificate', 'privateKey', 'publicKey'] as const) {
        for (const object of session.list({ kind, id: keyId, label: this.type })) session.destroy(object);
      }
    });
  }

  identity({ keyUrl }: CertificateRecord): TlsIdentity {
    const url = parseObjectUrl(keyUrl);
    if (url.kind !== 'token') throw new AosError('notSupported', `the key "${this.type}" is not in a token`);
    const chain = this.token.use((session) => readChain(session, url));
    return { certificateChain: toPem(chain), key: { kind: 'token', uri: engineUri(url, this.token.pin) } };
  }

  #signer(session: TokenSession, keyId: Uint8Array): Signer {
    const [privateKey] = session.list({ kind: 'privateKey', id: keyId, label: this.type });
    const [publicKey] = session.list({ kind: 'publicKey', id: keyId, label: this.type });
    return {
      kind: this.config.algorithm,
      publicKey: session.publicKey(publicKey!),
      sign: (message) => session.sign(privateKey!, message),
    };
  }

  #recordOfObject(session: TokenSession, object: TokenObject): { record?: CertificateRecord } {
    try {
      return { record: this.recordOf(new X509Certificate(session.certificate(object)), object.id) };
    } catch (error) {
      this.#logger.warn({ type: this.type, error: String(error) }, 'a certificate in the token cannot be read');
      return {};
    }
  }
}

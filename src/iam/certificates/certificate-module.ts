/** What the handler of certificates needs of one certificate type, wherever its keys are: in a token or in files. */
import type { X509Certificate } from 'node:crypto';
import type { TlsIdentity } from '../../api/index.ts';
import type { CertModuleConfig } from '../config/iam-config.ts';
import type { CertificateRecord } from '../store/iam-store.ts';
import type { Chain } from './chain.ts';
import type { ScannedObject } from './token-scan.ts';

/** Where the keys of one or more certificate types are: a token, or a directory. */
export interface KeyPlace {
  /** For people: `token "aoscore"`. */
  readonly name: string;
  /** Whether a provisioning has made it ours. */
  readonly isOwned: boolean;
  /** Throws when it cannot be used as it is; one that nobody owns yet can. */
  start(): Promise<void>;
  stop(): void;
  /**
   * Makes it ours: everything in it is gone. A place that an earlier try has owned is taken with the password of that
   * try. Throws `wrongState`, with the place untouched, when it is owned with another one.
   */
  own(password: string, formerPasswords?: readonly string[]): Promise<void>;
}

export interface CertificateModule {
  readonly config: CertModuleConfig;
  readonly type: string;
  readonly place: KeyPlace;
  /** What the database keeps of a certificate of this type. */
  recordOf(certificate: X509Certificate, keyId: Uint8Array): CertificateRecord;
  /** What there is of this type; a certificate that cannot be used counts as one without a record. */
  scan(): ScannedObject[];
  createKey(keyId: Uint8Array): Promise<void>;
  /** A request in PEM for the certificate of a key. */
  request(keyId: Uint8Array, commonName: string): string;
  selfSigned(keyId: Uint8Array, now: Date): X509Certificate;
  /** SPKI (DER) of a key, undefined when it is gone. */
  publicKey(keyId: Uint8Array): Buffer | undefined;
  hasCertificate(record: CertificateRecord): boolean;
  import(chain: Chain, keyId: Uint8Array): void;
  /** Destroys everything with this id; what is gone already is no failure. */
  destroy(keyId: Uint8Array): void;
  /** Chain and key of a certificate, for TLS. */
  identity(record: CertificateRecord): TlsIdentity;
}

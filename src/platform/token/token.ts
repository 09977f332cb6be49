/**
 * Keys and certificates in a PKCS#11 token (spec/iam.md 10, 11): what IAM, and everyone who uses a key by its URL,
 * needs of the library behind it.
 */

/** Where a token is found: exactly one of label, slot or index (spec/iam.md 10.1). */
export interface TokenSelector {
  readonly label?: string | undefined;
  readonly slotId?: number | undefined;
  readonly slotIndex?: number | undefined;
}

export interface TokenInfo {
  readonly slotId: number;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly initialized: boolean;
  readonly userPinInitialized: boolean;
  /** What the token tells of wrong user PINs since the last right one. */
  readonly userPin: 'fine' | 'failed' | 'last try' | 'locked';
}

export type KeyAlgorithm =
  | { readonly kind: 'rsa'; readonly bits: 2048 }
  | { readonly kind: 'ec'; readonly curve: 'P-384' };

export type ObjectKind = 'privateKey' | 'publicKey' | 'certificate';

/** One object of the token; `handle` is valid as long as the session it came from. */
export interface TokenObject {
  readonly handle: Buffer;
  readonly kind: ObjectKind;
  readonly id: Buffer;
  readonly label: string;
}

/** A library that has been loaded and initialised once in this process. */
export interface Pkcs11Library {
  readonly path: string;
  /** Tokens in all slots with a token present. */
  tokens(): TokenInfo[];
  /** The token that is meant. Throws `notFound` naming what was looked for and what is there. */
  find(selector: TokenSelector): TokenInfo;
  /** A slot with a token that is not initialised; throws `notFound` when there is none. */
  findBlank(): TokenInfo;
  /**
   * Sets security officer PIN and label; existing objects are gone, and so are all sessions of the slot. Throws
   * `wrongState` on a wrong officer PIN.
   */
  initToken(slotId: number, officerPin: string, label: string): void;
  /** Sets the user PIN as security officer. */
  initUserPin(slotId: number, officerPin: string, userPin: string): void;
  /** Gives the token another security officer PIN. */
  setOfficerPin(slotId: number, oldPin: string, newPin: string): void;
  /** Opens a session, logged in when a PIN is given. Close it with `close`. */
  open(slotId: number, userPin?: string): TokenSession;
  /** Finalises the library. */
  close(): void;
}

export interface TokenSession {
  readonly token: TokenInfo;
  list(filter?: { readonly kind?: ObjectKind; readonly id?: Uint8Array; readonly label?: string }): TokenObject[];
  /**
   * Makes a key pair that never leaves the token: sensitive, not extractable. Both halves carry id and label. It takes
   * seconds in a slow token, so it happens in another thread and in a session of its own; this session stays usable.
   */
  generateKeyPair(algorithm: KeyAlgorithm, id: Uint8Array, label: string): Promise<void>;
  /** The public key in SPKI form (DER); works from the public key object. */
  publicKey(object: TokenObject): Buffer;
  /** Signs a message with the private key: SHA-256 with RSA PKCS#1 v1.5, or SHA-384 with ECDSA (DER signature). */
  sign(privateKey: TokenObject, message: Uint8Array): Buffer;
  /** RSA decryption, PKCS#1 v1.5 or OAEP. */
  decrypt(privateKey: TokenObject, data: Uint8Array, padding: 'pkcs1' | 'oaep-sha1' | 'oaep-sha256'): Buffer;
  /** Stores a certificate (DER) with subject, issuer and serial number taken from it. */
  importCertificate(der: Uint8Array, id: Uint8Array, label: string): void;
  /** DER of a certificate object. */
  certificate(object: TokenObject): Buffer;
  destroy(object: TokenObject): void;
  close(): void;
}

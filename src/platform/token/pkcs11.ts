/** PKCS#11 libraries through the native binding. The only place that speaks Cryptoki. */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as Pkcs11 from 'pkcs11js';
import { AosError, asAosError, type ErrorCode } from '../../core/index.ts';
import { certificateParts, ecdsaDer, P384_PARAMS, p384Spki, rsaSpki } from './der-parts.ts';
import type {
  KeyAlgorithm,
  ObjectKind,
  Pkcs11Library,
  TokenInfo,
  TokenObject,
  TokenSelector,
  TokenSession,
} from './token.ts';

const LABEL_BYTES = 32;
const FIND_BATCH = 64;

/** The native binding; loaded when a token is first needed, so that programs without keys do not pay for it. */
type Binding = typeof Pkcs11;

const loadBinding = (): Binding => createRequire(import.meta.url)('pkcs11js') as Binding;

const kindsOf = (binding: Binding): readonly (readonly [ObjectKind, number])[] => [
  ['privateKey', binding.CKO_PRIVATE_KEY],
  ['publicKey', binding.CKO_PUBLIC_KEY],
  ['certificate', binding.CKO_CERTIFICATE],
];

/** CK_RV of what is told apart here. */
const FUNCTION_FAILED = 0x06;
const PIN_INCORRECT = 0xa0;
const USER_ALREADY_LOGGED_IN = 0x100;
const ALREADY_INITIALIZED = 0x191;

/** What a person can act upon, and the class of the error; everything else is `runtime` in the library's words. */
const MEANINGS: ReadonlyMap<number, readonly [ErrorCode, string]> = new Map([
  [0x31, ['noMemory', 'the token is full']],
  [0x32, ['notFound', 'the token was removed']],
  [PIN_INCORRECT, ['wrongState', 'the PIN is wrong']],
  [0xa4, ['wrongState', 'the PIN is locked after too many wrong ones']],
  [0xe0, ['notFound', 'the token is not there']],
]);

/** When something is stored. SoftHSM gives no other reason when its files cannot be written. */
const MEANINGS_OF_STORING: typeof MEANINGS = new Map([
  ...MEANINGS,
  [FUNCTION_FAILED, ['runtime', 'the token is full or gone']],
]);

/** Runs a call of the library; its error gets a class, what was being done, and the CK_RV as exit code. */
function call<T>(doing: string, work: () => T, meanings = MEANINGS): T {
  try {
    return work();
  } catch (error) {
    const returned = returnValueOf(error);
    if (returned === undefined) throw error;
    throw tokenError(doing, error, returned, meanings);
  }
}

function tokenError(doing: string, error: unknown, returned: number, meanings: typeof MEANINGS): AosError {
  const words = (error as Error).message;
  const [code, meaning] = meanings.get(returned) ?? [];
  if (code === undefined) return new AosError('runtime', `${doing}: ${words}`, { cause: error, exitCode: returned });
  // Of a chain, peers are sent the innermost words.
  const inner = new AosError(code, `${meaning} (${words})`, { cause: error, exitCode: returned });
  return asAosError(inner, doing);
}

/** The CK_RV of an error of the binding. */
function returnValueOf(error: unknown): number | undefined {
  const { name, code } = error as { readonly name?: unknown; readonly code?: unknown };
  return name === 'Pkcs11Error' && typeof code === 'number' ? code : undefined;
}

/**
 * Loads a PKCS#11 library. The OpenSSL engine of the same process may have initialised it already, and shares the
 * login state with us; so nothing here logs out, and `close` leaves alone what it did not initialise.
 */
export function loadPkcs11(path: string): Pkcs11Library {
  const binding = loadBinding();
  const module = new binding.PKCS11();
  try {
    module.load(path);
  } catch (error) {
    // The words of the dynamic linker, which name the file.
    throw asAosError(error, 'cannot load the PKCS#11 library');
  }
  let initialised = true;
  try {
    module.C_Initialize({ flags: binding.CKF_OS_LOCKING_OK });
  } catch (error) {
    if (returnValueOf(error) !== ALREADY_INITIALIZED) {
      call(`cannot initialise the PKCS#11 library ${path}`, () => {
        throw error;
      });
    }
    initialised = false;
  }
  return new Library(path, binding, module, initialised);
}

class Library implements Pkcs11Library {
  readonly path: string;
  readonly #binding: Binding;
  readonly #module: Pkcs11.PKCS11;
  readonly #initialisedHere: boolean;

  constructor(path: string, binding: Binding, module: Pkcs11.PKCS11, initialisedHere: boolean) {
    this.path = path;
    this.#binding = binding;
    this.#module = module;
    this.#initialisedHere = initialisedHere;
  }

  tokens(): TokenInfo[] {
    return this.#slots(true).map((slot) => this.#info(slot));
  }

  find(selector: TokenSelector): TokenInfo {
    if (selector.slotIndex !== undefined) {
      const slot = this.#slots(false)[selector.slotIndex];
      if (!slot) {
        throw new AosError('invalidArgument', `${this.path} has no slot with index ${selector.slotIndex}`);
      }
      return this.#info(slot);
    }
    const tokens = this.tokens();
    const found = tokens.find((token) =>
      selector.slotId === undefined
        ? token.initialized && token.label === (selector.label ?? '')
        : token.slotId === selector.slotId,
    );
    if (found) return found;
    const wanted = selector.slotId === undefined ? `labelled "${selector.label ?? ''}"` : `in slot ${selector.slotId}`;
    const there = tokens.map((token) => (token.initialized ? `"${token.label}"` : 'a blank one')).join(', ');
    throw new AosError('notFound', `${this.path} has no token ${wanted}; it has ${there || 'none'}`);
  }

  findBlank(): TokenInfo {
    const blank = this.tokens().find((token) => !token.initialized);
    if (!blank) throw new AosError('notFound', `${this.path} has no slot with a blank token`);
    return blank;
  }

  initToken(slotId: number, officerPin: string, label: string): void {
    const slot = this.#slot(slotId);
    call(`cannot initialise the token "${label}"`, () => {
      this.#module.C_CloseAllSessions(slot);
      this.#module.C_InitToken(slot, officerPin, label.padEnd(LABEL_BYTES, ' '));
    });
  }

  initUserPin(slotId: number, officerPin: string, userPin: string): void {
    call('cannot set the user PIN of the token', () => {
      const session = this.#module.C_OpenSession(
        this.#slot(slotId),
        this.#binding.CKF_SERIAL_SESSION | this.#binding.CKF_RW_SESSION,
      );
      try {
        this.#module.C_Login(session, this.#binding.CKU_SO, officerPin);
        this.#module.C_InitPIN(session, userPin);
        this.#module.C_Logout(session);
      } finally {
        this.#module.C_CloseSession(session);
      }
    });
  }

  setOfficerPin(slotId: number, oldPin: string, newPin: string): void {
    call('cannot change the password of the token', () => {
      const session = this.#module.C_OpenSession(
        this.#slot(slotId),
        this.#binding.CKF_SERIAL_SESSION | this.#binding.CKF_RW_SESSION,
      );
      try {
        this.#module.C_Login(session, this.#binding.CKU_SO, oldPin);
        this.#module.C_SetPIN(session, oldPin, newPin);
        this.#module.C_Logout(session);
      } finally {
        this.#module.C_CloseSession(session);
      }
    });
  }

  open(slotId: number, userPin?: string): TokenSession {
    const slot = this.#slot(slotId);
    const token = this.#info(slot);
    return call(`cannot open the token "${token.label}"`, () => {
      const session = this.#module.C_OpenSession(slot, this.#binding.CKF_SERIAL_SESSION | this.#binding.CKF_RW_SESSION);
      try {
        if (userPin !== undefined) this.#module.C_Login(session, this.#binding.CKU_USER, userPin);
      } catch (error) {
        if (returnValueOf(error) !== USER_ALREADY_LOGGED_IN) {
          this.#module.C_CloseSession(session);
          throw error;
        }
      }
      return new Session({ binding: this.#binding, module: this.#module, slot, session, token });
    });
  }

  close(): void {
    if (this.#initialisedHere) this.#module.C_Finalize();
    this.#module.close();
  }

  #slots(withToken: boolean): Buffer[] {
    return call(`cannot list the slots of ${this.path}`, () => this.#module.C_GetSlotList(withToken));
  }

  #slot(slotId: number): Buffer {
    const slot = this.#slots(false).find((handle) => slotIdOf(handle) === slotId);
    if (!slot) throw new AosError('notFound', `${this.path} has no slot ${slotId}`);
    return slot;
  }

  #info(slot: Buffer): TokenInfo {
    const info = call(`cannot ask about a slot of ${this.path}`, () => this.#module.C_GetTokenInfo(slot));
    return {
      slotId: slotIdOf(slot),
      label: info.label.trimEnd(),
      manufacturer: info.manufacturerID.trimEnd(),
      model: info.model.trimEnd(),
      serial: info.serialNumber.trimEnd(),
      initialized: (info.flags & this.#binding.CKF_TOKEN_INITIALIZED) !== 0,
      userPinInitialized: (info.flags & this.#binding.CKF_USER_PIN_INITIALIZED) !== 0,
      userPin: this.#userPin(info.flags),
    };
  }

  #userPin(flags: number): TokenInfo['userPin'] {
    const { CKF_USER_PIN_LOCKED, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_COUNT_LOW } = this.#binding;
    if (flags & CKF_USER_PIN_LOCKED) return 'locked';
    if (flags & CKF_USER_PIN_FINAL_TRY) return 'last try';
    return flags & CKF_USER_PIN_COUNT_LOW ? 'failed' : 'fine';
  }
}

/** Slots are numbers of the machine's word size; the binding hands them over as its bytes. */
function slotIdOf(handle: Buffer): number {
  return handle.length === 8 ? Number(handle.readBigUInt64LE()) : handle.readUInt32LE();
}

interface SessionParts {
  readonly binding: Binding;
  readonly module: Pkcs11.PKCS11;
  readonly slot: Buffer;
  readonly session: Buffer;
  readonly token: TokenInfo;
}

class Session implements TokenSession {
  readonly token: TokenInfo;
  readonly #binding: Binding;
  readonly #module: Pkcs11.PKCS11;
  readonly #slot: Buffer;
  readonly #session: Buffer;

  constructor({ binding, module, slot, session, token }: SessionParts) {
    this.#binding = binding;
    this.#module = module;
    this.#slot = slot;
    this.#session = session;
    this.token = token;
  }

  list(filter: { kind?: ObjectKind; id?: Uint8Array; label?: string } = {}): TokenObject[] {
    const kinds = kindsOf(this.#binding).filter(([kind]) => filter.kind === undefined || kind === filter.kind);
    return kinds.flatMap(([kind, objectClass]) =>
      this.#find([
        { type: this.#binding.CKA_CLASS, value: objectClass },
        ...(filter.id ? [{ type: this.#binding.CKA_ID, value: Buffer.from(filter.id) }] : []),
        ...(filter.label === undefined ? [] : [{ type: this.#binding.CKA_LABEL, value: filter.label }]),
      ]).map((handle) => ({ handle, kind, ...this.#names(handle) })),
    );
  }

  async generateKeyPair(algorithm: KeyAlgorithm, id: Uint8Array, label: string): Promise<void> {
    const both = [
      { type: this.#binding.CKA_TOKEN, value: true },
      { type: this.#binding.CKA_ID, value: Buffer.from(id) },
      { type: this.#binding.CKA_LABEL, value: label },
    ];
    const isRsa = algorithm.kind === 'rsa';
    const publicTemplate = [
      ...both,
      { type: this.#binding.CKA_VERIFY, value: true },
      ...(isRsa
        ? [
            { type: this.#binding.CKA_ENCRYPT, value: true },
            { type: this.#binding.CKA_MODULUS_BITS, value: algorithm.bits },
            { type: this.#binding.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
          ]
        : [{ type: this.#binding.CKA_EC_PARAMS, value: P384_PARAMS }]),
    ];
    const privateTemplate = [
      ...both,
      { type: this.#binding.CKA_PRIVATE, value: true },
      { type: this.#binding.CKA_SENSITIVE, value: true },
      { type: this.#binding.CKA_EXTRACTABLE, value: false },
      { type: this.#binding.CKA_SIGN, value: true },
      ...(isRsa ? [{ type: this.#binding.CKA_DECRYPT, value: true }] : []),
    ];
    const mechanism = isRsa ? this.#binding.CKM_RSA_PKCS_KEY_PAIR_GEN : this.#binding.CKM_EC_KEY_PAIR_GEN;
    const doing = `cannot make the key "${label}" in the token "${this.token.label}"`;
    // Logged in like every session of this process.
    const flags = this.#binding.CKF_SERIAL_SESSION | this.#binding.CKF_RW_SESSION;
    const session = call(doing, () => this.#module.C_OpenSession(this.#slot, flags));
    try {
      await this.#module.C_GenerateKeyPairAsync(session, { mechanism }, publicTemplate, privateTemplate);
    } catch (error) {
      const returned = returnValueOf(error);
      throw returned === undefined ? error : tokenError(doing, error, returned, MEANINGS_OF_STORING);
    } finally {
      call(doing, () => this.#module.C_CloseSession(session));
    }
  }

  publicKey(object: TokenObject): Buffer {
    return this.#keyType(object) === 'rsa'
      ? rsaSpki(
          this.#attribute(object.handle, this.#binding.CKA_MODULUS),
          this.#attribute(object.handle, this.#binding.CKA_PUBLIC_EXPONENT),
        )
      : p384Spki(this.#attribute(object.handle, this.#binding.CKA_EC_POINT));
  }

  sign(privateKey: TokenObject, message: Uint8Array): Buffer {
    const isRsa = this.#keyType(privateKey) === 'rsa';
    const input = isRsa ? Buffer.from(message) : createHash('sha384').update(message).digest();
    const mechanism = isRsa ? this.#binding.CKM_SHA256_RSA_PKCS : this.#binding.CKM_ECDSA;
    const signature = call(`cannot sign with the key "${privateKey.label}"`, () => {
      this.#module.C_SignInit(this.#session, { mechanism }, privateKey.handle);
      return this.#module.C_Sign(this.#session, input, Buffer.alloc(1024));
    });
    return isRsa ? signature : ecdsaDer(signature);
  }

  decrypt(privateKey: TokenObject, data: Uint8Array, padding: 'pkcs1' | 'oaep-sha1' | 'oaep-sha256'): Buffer {
    return call(`cannot decrypt with the key "${privateKey.label}"`, () => {
      this.#module.C_DecryptInit(this.#session, decryptMechanism(this.#binding, padding), privateKey.handle);
      return this.#module.C_Decrypt(this.#session, Buffer.from(data), Buffer.alloc(1024));
    });
  }

  importCertificate(der: Uint8Array, id: Uint8Array, label: string): void {
    const value = Buffer.from(der);
    const { subject, issuer, serial } = certificateParts(value);
    const template = [
      { type: this.#binding.CKA_CLASS, value: this.#binding.CKO_CERTIFICATE },
      { type: this.#binding.CKA_CERTIFICATE_TYPE, value: this.#binding.CKC_X_509 },
      { type: this.#binding.CKA_TOKEN, value: true },
      { type: this.#binding.CKA_PRIVATE, value: false },
      { type: this.#binding.CKA_ID, value: Buffer.from(id) },
      ...(label === '' ? [] : [{ type: this.#binding.CKA_LABEL, value: label }]),
      { type: this.#binding.CKA_SUBJECT, value: subject },
      { type: this.#binding.CKA_ISSUER, value: issuer },
      { type: this.#binding.CKA_SERIAL_NUMBER, value: serial },
      { type: this.#binding.CKA_VALUE, value },
    ];
    const doing = `cannot store the certificate "${label}" in the token "${this.token.label}"`;
    call(doing, () => this.#module.C_CreateObject(this.#session, template), MEANINGS_OF_STORING);
  }

  certificate(object: TokenObject): Buffer {
    return this.#attribute(object.handle, this.#binding.CKA_VALUE);
  }

  destroy(object: TokenObject): void {
    call(`cannot remove "${object.label}" from the token "${this.token.label}"`, () =>
      this.#module.C_DestroyObject(this.#session, object.handle),
    );
  }

  close(): void {
    // Without a logout: the login belongs to the process, and the TLS engine lives on it.
    call(`cannot close the token "${this.token.label}"`, () => this.#module.C_CloseSession(this.#session));
  }

  #find(template: Pkcs11.Template): Buffer[] {
    return call(`cannot search the token "${this.token.label}"`, () => {
      this.#module.C_FindObjectsInit(this.#session, template);
      try {
        const found: Buffer[] = [];
        for (;;) {
          const batch = this.#module.C_FindObjects(this.#session, FIND_BATCH);
          found.push(...batch);
          if (batch.length === 0) return found;
        }
      } finally {
        this.#module.C_FindObjectsFinal(this.#session);
      }
    });
  }

  #attribute(handle: Buffer, type: number): Buffer {
    const [attribute] = call(`cannot read an object of the token "${this.token.label}"`, () =>
      this.#module.C_GetAttributeValue(this.#session, handle, [{ type }]),
    );
    return attribute!.value as Buffer;
  }

  #names(handle: Buffer): { readonly id: Buffer; readonly label: string } {
    const [id, label] = call(`cannot read an object of the token "${this.token.label}"`, () =>
      this.#module.C_GetAttributeValue(this.#session, handle, [
        { type: this.#binding.CKA_ID },
        { type: this.#binding.CKA_LABEL },
      ]),
    );
    return { id: Buffer.from(id!.value as Buffer), label: (label!.value as Buffer).toString() };
  }

  #keyType(object: TokenObject): 'rsa' | 'ec' {
    const value = this.#attribute(object.handle, this.#binding.CKA_KEY_TYPE);
    const type = value.length === 8 ? Number(value.readBigUInt64LE()) : value.readUInt32LE();
    if (type === this.#binding.CKK_RSA) return 'rsa';
    if (type === this.#binding.CKK_EC) return 'ec';
    throw new AosError('notSupported', `key "${object.label}" in the token is of an unknown type ${type}`);
  }
}

function decryptMechanism(binding: Binding, padding: 'pkcs1' | 'oaep-sha1' | 'oaep-sha256'): Pkcs11.Mechanism {
  if (padding === 'pkcs1') return { mechanism: binding.CKM_RSA_PKCS };
  const sha1 = padding === 'oaep-sha1';
  return {
    mechanism: binding.CKM_RSA_PKCS_OAEP,
    parameter: {
      type: binding.CK_PARAMS_RSA_OAEP,
      hashAlg: sha1 ? binding.CKM_SHA_1 : binding.CKM_SHA256,
      mgf: sha1 ? binding.CKG_MGF1_SHA1 : binding.CKG_MGF1_SHA256,
      source: 1,
    },
  } as Pkcs11.Mechanism;
}

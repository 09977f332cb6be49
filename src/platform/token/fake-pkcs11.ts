/** A token in memory, for tests: the same behaviour as a library, without one. */
import { constants, generateKeyPairSync, type KeyObject, privateDecrypt, sign } from 'node:crypto';
import { AosError } from '../../core/index.ts';
import { certificateParts } from './der-parts.ts';
import type {
  KeyAlgorithm,
  ObjectKind,
  Pkcs11Library,
  TokenInfo,
  TokenObject,
  TokenSelector,
  TokenSession,
} from './token.ts';

interface StoredObject {
  readonly kind: ObjectKind;
  readonly id: Buffer;
  readonly label: string;
  readonly key?: KeyObject;
  readonly der?: Buffer;
}

type FailingCall = 'generateKeyPair' | 'sign' | 'destroy';

interface FakeToken {
  label: string;
  officerPin?: string;
  userPin?: string;
  objects: Map<number, StoredObject>;
  /** A wrong user PIN was given since the last right one. */
  hasFailed?: boolean;
}

export class FakePkcs11 implements Pkcs11Library {
  readonly path: string;
  readonly #tokens: FakeToken[] = [{ label: '', objects: new Map() }];
  readonly #failures = new Map<FailingCall, number>();
  #nextHandle = 1;

  constructor(path = '/fake/pkcs11.so') {
    this.path = path;
  }

  /** The next call of this kind fails with this CK_RV; a key pair is left half made. */
  failNext(name: FailingCall, exitCode: number): void {
    this.#failures.set(name, exitCode);
  }

  tokens(): TokenInfo[] {
    return this.#tokens.map((_, slotId) => this.#info(slotId));
  }

  find(selector: TokenSelector): TokenInfo {
    const slot = selector.slotIndex ?? selector.slotId;
    if (slot !== undefined) {
      if (this.#tokens[slot]) return this.#info(slot);
      const code = selector.slotIndex === undefined ? 'notFound' : 'invalidArgument';
      throw new AosError(code, `${this.path} has no slot ${slot}`);
    }
    const found = this.tokens().find((token) => token.initialized && token.label === (selector.label ?? ''));
    if (!found) throw new AosError('notFound', `${this.path} has no token labelled "${selector.label ?? ''}"`);
    return found;
  }

  findBlank(): TokenInfo {
    return this.tokens().find((token) => !token.initialized)!;
  }

  initToken(slotId: number, officerPin: string, label: string): void {
    const token = this.#token(slotId);
    if (token.officerPin !== undefined && token.officerPin !== officerPin) {
      throw new AosError('wrongState', `cannot initialise the token "${label}": CKR_PIN_INCORRECT`, { exitCode: 160 });
    }
    const blank = token.officerPin === undefined;
    this.#tokens[slotId] = { label, officerPin, objects: new Map() };
    // There is always a blank slot, as with SoftHSM.
    if (blank) this.#tokens.push({ label: '', objects: new Map() });
  }

  initUserPin(slotId: number, officerPin: string, userPin: string): void {
    const token = this.#token(slotId);
    if (token.officerPin !== officerPin) {
      throw new AosError('wrongState', 'cannot set the user PIN of the token: CKR_PIN_INCORRECT', { exitCode: 160 });
    }
    token.userPin = userPin;
  }

  setOfficerPin(slotId: number, oldPin: string, newPin: string): void {
    const token = this.#token(slotId);
    if (token.officerPin !== oldPin) {
      throw new AosError('wrongState', 'cannot change the password of the token: CKR_PIN_INCORRECT', { exitCode: 160 });
    }
    token.officerPin = newPin;
  }

  open(slotId: number, userPin?: string): TokenSession {
    const token = this.#token(slotId);
    if (userPin !== undefined) token.hasFailed = token.userPin !== userPin;
    if (token.hasFailed && userPin !== undefined) {
      throw new AosError('wrongState', `cannot open the token "${token.label}": CKR_PIN_INCORRECT`, { exitCode: 160 });
    }
    const failIfWanted = (name: FailingCall) => {
      const exitCode = this.#failures.get(name);
      if (exitCode === undefined) return;
      this.#failures.delete(name);
      throw new AosError('runtime', `${name}: CK_RV ${exitCode}`, { exitCode });
    };
    const loggedIn = userPin !== undefined;
    return new FakeSession(this.#info(slotId), token, { loggedIn, newHandle: () => this.#nextHandle++, failIfWanted });
  }

  close(): void {
    // Nothing is held.
  }

  #token(slotId: number): FakeToken {
    const token = this.#tokens[slotId];
    if (!token) throw new AosError('notFound', `${this.path} has no slot ${slotId}`);
    return token;
  }

  #info(slotId: number): TokenInfo {
    const { label, officerPin, userPin, hasFailed } = this.#token(slotId);
    return {
      slotId,
      label,
      manufacturer: 'aoscore',
      model: 'fake',
      serial: String(slotId),
      initialized: officerPin !== undefined,
      userPinInitialized: userPin !== undefined,
      userPin: hasFailed ? 'failed' : 'fine',
    };
  }
}

interface FakeSessionOptions {
  readonly loggedIn: boolean;
  readonly newHandle: () => number;
  readonly failIfWanted: (name: FailingCall) => void;
}

class FakeSession implements TokenSession {
  readonly token: TokenInfo;
  readonly #store: FakeToken;
  readonly #loggedIn: boolean;
  readonly #newHandle: () => number;
  readonly #failIfWanted: (name: FailingCall) => void;

  constructor(info: TokenInfo, store: FakeToken, options: FakeSessionOptions) {
    this.token = info;
    this.#store = store;
    this.#loggedIn = options.loggedIn;
    this.#newHandle = options.newHandle;
    this.#failIfWanted = options.failIfWanted;
  }

  list(filter: { kind?: ObjectKind; id?: Uint8Array; label?: string } = {}): TokenObject[] {
    return [...this.#store.objects]
      .filter(
        ([, object]) =>
          (object.kind !== 'privateKey' || this.#loggedIn) &&
          (filter.kind === undefined || object.kind === filter.kind) &&
          (filter.id === undefined || object.id.equals(filter.id)) &&
          (filter.label === undefined || object.label === filter.label),
      )
      .map(([handle, { kind, id, label }]) => ({ handle: handleBytes(handle), kind, id, label }));
  }

  async generateKeyPair(algorithm: KeyAlgorithm, id: Uint8Array, label: string): Promise<void> {
    const pair =
      algorithm.kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: algorithm.bits })
        : generateKeyPairSync('ec', { namedCurve: algorithm.curve });
    this.#add({ kind: 'publicKey', id: Buffer.from(id), label, key: pair.publicKey });
    this.#failIfWanted('generateKeyPair');
    this.#add({ kind: 'privateKey', id: Buffer.from(id), label, key: pair.privateKey });
  }

  publicKey(object: TokenObject): Buffer {
    return this.#key(object).export({ format: 'der', type: 'spki' }) as Buffer;
  }

  sign(privateKey: TokenObject, message: Uint8Array): Buffer {
    this.#failIfWanted('sign');
    const key = this.#key(privateKey);
    return sign(key.asymmetricKeyType === 'rsa' ? 'sha256' : 'sha384', message, key);
  }

  decrypt(privateKey: TokenObject, data: Uint8Array, padding: 'pkcs1' | 'oaep-sha1' | 'oaep-sha256'): Buffer {
    return privateDecrypt(
      {
        key: this.#key(privateKey),
        padding: padding === 'pkcs1' ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_OAEP_PADDING,
        oaepHash: padding === 'oaep-sha256' ? 'sha256' : 'sha1',
      },
      data,
    );
  }

  importCertificate(der: Uint8Array, id: Uint8Array, label: string): void {
    certificateParts(Buffer.from(der));
    this.#add({ kind: 'certificate', id: Buffer.from(id), label, der: Buffer.from(der) });
  }

  certificate(object: TokenObject): Buffer {
    return Buffer.from(this.#get(object).der ?? []);
  }

  destroy(object: TokenObject): void {
    this.#failIfWanted('destroy');
    this.#get(object);
    this.#store.objects.delete(object.handle.readUInt32LE());
  }

  close(): void {
    // Nothing is held.
  }

  #add(object: StoredObject): void {
    this.#store.objects.set(this.#newHandle(), object);
  }

  #get(object: TokenObject): StoredObject {
    const stored = this.#store.objects.get(object.handle.readUInt32LE());
    if (!stored) throw new AosError('runtime', `"${object.label}" is not in the token any more`, { exitCode: 130 });
    return stored;
  }

  #key(object: TokenObject): KeyObject {
    const { key } = this.#get(object);
    if (!key) throw new AosError('invalidArgument', `"${object.label}" is no key`);
    return key;
  }
}

function handleBytes(handle: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(handle);
  return bytes;
}

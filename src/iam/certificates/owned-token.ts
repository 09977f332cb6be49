/** The token that one or more certificate types keep their keys in: found, owned, opened (spec/iam.md 10). */
import { AosError, asAosError, faultPoint, isAosError, type Logger } from '../../core/index.ts';
import {
  type Pkcs11Library,
  RefusedPins,
  type TokenInfo,
  type TokenSelector,
  type TokenSession,
} from '../../platform/token/index.ts';
import type { Pkcs11Params } from '../config/iam-config.ts';
import type { KeyPlace } from './certificate-module.ts';
import { checkPassword, obtainPin, readPins, teeUserPin } from './pin.ts';

const DEFAULT_LABEL = 'aos';

/** Return values of a library that mean: open the session again. */
const SESSION_LOST = new Set([0x32, 0xb0, 0xb3, 0xe0, 0x101]);

export interface OwnedTokenOptions {
  readonly library: Pkcs11Library;
  readonly params: Pkcs11Params;
  readonly logger: Logger;
  /** `CKTEEC_LOGIN_TYPE`, when the library is that of OP-TEE. */
  readonly teeLoginType?: string | undefined;
  /** Default: none yet. */
  readonly refusedPins?: RefusedPins;
}

export class OwnedToken implements KeyPlace {
  readonly label: string;
  readonly #library: Pkcs11Library;
  readonly #params: Pkcs11Params;
  readonly #logger: Logger;
  readonly #teeLoginType: string | undefined;
  readonly #refusedPins: RefusedPins;
  #pins: readonly string[] | undefined;
  #session: TokenSession | undefined;
  #pin: string | undefined;

  constructor({ library, params, logger, teeLoginType, refusedPins = new RefusedPins() }: OwnedTokenOptions) {
    this.#library = library;
    this.#params = params;
    this.#logger = logger;
    this.#teeLoginType = teeLoginType || undefined;
    this.#refusedPins = refusedPins;
    this.label = params.tokenLabel || DEFAULT_LABEL;
  }

  /**
   * Finds the token. One that is owned needs its PIN; a blank one, or none yet but a free slot, is fine.
   * Throws `notFound` when there is no place for a token at all.
   */
  async start(): Promise<void> {
    if (!isUsable(this.#choose()) || this.#teeLoginType !== undefined) return;
    if (!this.#params.userPinPath) {
      throw new AosError('invalidArgument', `token "${this.label}" needs params.userPinPath to be opened`);
    }
    this.#pins = await readPins(this.#params.userPinPath);
    if (!this.#pins) {
      throw new AosError(
        'notFound',
        `token "${this.label}" is owned, but its PIN file ${this.#params.userPinPath} is missing`,
      );
    }
  }

  stop(): void {
    this.#closeSession();
  }

  get name(): string {
    return `token "${this.label}"`;
  }

  /** What the user PIN file is called in URLs; undefined as long as there is no PIN. */
  get pinSource(): string | undefined {
    return this.#pins && this.#params.userPinPath;
  }

  /** The PIN that opened the token; goes into TLS options and nowhere else. */
  get pin(): string | undefined {
    return this.#pin;
  }

  get isOwned(): boolean {
    const token = this.#find();
    return token !== undefined && isUsable(token);
  }

  /**
   * Makes the token ours: everything in it is gone, the password is the officer's PIN, the PIN file the user's.
   * A token that an earlier try has owned is taken with the password of that try, and gets the new one. Throws
   * `wrongState`, with the token untouched, when it is owned with another password (spec/decisions.md IA-31).
   */
  async own(password: string, formerPasswords: readonly string[] = []): Promise<void> {
    checkPassword(password);
    const userPin = await this.#userPinToSet();
    const officerPin = this.#teeLoginType === undefined ? password : '';
    this.#closeSession();
    const { slotId } = this.#choose();
    const former = this.#teeLoginType === undefined ? formerPasswords : [];
    faultPoint('iam.token.init');
    const taken = this.#initToken(slotId, [officerPin, ...former]);
    faultPoint('iam.token.user-pin');
    const owned = this.#choose().slotId;
    if (taken !== officerPin) this.#library.setOfficerPin(owned, taken, officerPin);
    this.#library.initUserPin(owned, officerPin, userPin);
    if (this.#teeLoginType === undefined) this.#pins = [userPin];
    this.#refusedPins.forget(this.#library, this.label, userPin);
  }

  /** Wipes the token with the first officer PIN that it takes; answers which one. */
  #initToken(slotId: number, officerPins: readonly string[]): string {
    let refusal: AosError | undefined;
    for (const pin of officerPins) {
      try {
        this.#library.initToken(slotId, pin, this.label);
        return pin;
      } catch (error) {
        if (!isAosError(error, 'wrongState')) throw error;
        refusal = error;
      }
    }
    // Not as the cause: of a chain, peers are sent the innermost words, which name no cure.
    this.#logger.warn({ token: this.label, error: refusal!.message }, 'the token does not take the password');
    throw new AosError('wrongState', `token "${this.label}" is owned with another password`, {
      exitCode: refusal!.exitCode,
    });
  }

  /** Works on the token with an open session; a session that was lost is opened once more. */
  use<T>(work: (session: TokenSession) => T): T {
    try {
      return work(this.#open());
    } catch (error) {
      this.#forgetLostSession(error);
      return work(this.#open());
    }
  }

  /** The same for work that takes its time. */
  async useForLong<T>(work: (session: TokenSession) => Promise<T>): Promise<T> {
    try {
      return await work(this.#open());
    } catch (error) {
      this.#forgetLostSession(error);
      return await work(this.#open());
    }
  }

  /** Throws an error that tells of no lost session. */
  #forgetLostSession(error: unknown): void {
    const { exitCode } = asAosError(error);
    if (!SESSION_LOST.has(exitCode)) throw error;
    this.#logger.warn({ token: this.label, rv: exitCode }, 'the session of the token was lost; opening it again');
    this.#closeSession();
  }

  #open(): TokenSession {
    if (this.#session) return this.#session;
    const token = this.#find();
    if (!token || !isUsable(token)) {
      throw new AosError('wrongState', `token "${this.label}" is not initialised; provisioning does that`);
    }
    const pins = this.#teeLoginType === undefined ? (this.#pins ?? []) : [''];
    if (pins.length === 0) throw new AosError('wrongState', `token "${this.label}" has no PIN`);
    const source = this.#params.userPinPath ?? 'CKTEEC_LOGIN_TYPE';
    const { session, pin } = this.#refusedPins.open(this.#library, { ...token, label: this.label }, pins, source);
    this.#session = session;
    this.#pin = this.#teeLoginType === undefined ? pin : undefined;
    return session;
  }

  #closeSession(): void {
    try {
      this.#session?.close();
    } catch (error) {
      this.#logger.debug({ token: this.label, error: String(error) }, 'the session of the token did not close');
    }
    this.#session = undefined;
  }

  async #userPinToSet(): Promise<string> {
    if (this.#teeLoginType !== undefined) return teeUserPin(this.#teeLoginType, this.#params);
    if (!this.#params.userPinPath) {
      throw new AosError('invalidArgument', `token "${this.label}" needs params.userPinPath to be owned`);
    }
    return obtainPin(this.#params.userPinPath);
  }

  #selector(): TokenSelector {
    const { slotID, slotIndex } = this.#params;
    if (slotID !== undefined) return { slotId: slotID };
    return slotIndex === undefined ? { label: this.label } : { slotIndex };
  }

  #find(): TokenInfo | undefined {
    try {
      return this.#library.find(this.#selector());
    } catch (error) {
      if (isAosError(error, 'notFound') && this.#params.slotIndex === undefined) return undefined;
      throw error;
    }
  }

  /** By label a blank token does as well, as long as none has the label. */
  #choose(): TokenInfo {
    const byLabel = this.#params.slotID === undefined && this.#params.slotIndex === undefined;
    if (!byLabel) return this.#library.find(this.#selector());
    return this.#find() ?? this.#library.findBlank();
  }
}

/** A token whose taking over was interrupted has no user PIN yet: it counts as blank, and is taken over again. */
function isUsable(token: TokenInfo): boolean {
  return token.initialized && token.userPinInitialized;
}

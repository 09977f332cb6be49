/**
 * The directory that one or more certificate types keep their keys in as files: found, owned, wiped (docs/keys.md).
 *
 * Whose it is stands in the file `owner`, as a hash of the password of the provisioning: like a token, the directory
 * cannot be wiped by whoever reaches a blank node, only by the one who has provisioned it.
 */
import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, syncDirectorySync, writeFileAtomicSync } from '../../storage/index.ts';
import type { KeyPlace } from './certificate-module.ts';
import { checkPassword } from './pin.ts';
import { readSecretFile, SECRET_MODE } from './secret-file.ts';

const OWNER_FILE = 'owner';
const HASH_BYTES = 32;
const OWNER = /^scrypt ([0-9a-f]{32}) ([0-9a-f]{64})\n$/;
const OUR_FILE = /^([A-Za-z0-9_-]+)\.([0-9a-f]{32})\.(key|crt)$/;
const WRITABLE_BY_OTHERS = 0o022;

/** A file with a key, or with a certificate and its issuers. */
export interface KeyFileName {
  readonly type: string;
  /** Hexadecimal. */
  readonly keyId: string;
  readonly kind: 'key' | 'crt';
}

export class KeyDirectory implements KeyPlace {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get name(): string {
    return `directory "${this.path}"`;
  }

  get isOwned(): boolean {
    return existsSync(this.#ownerPath);
  }

  async start(): Promise<void> {
    if (!existsSync(this.path)) return;
    this.#refuseShared();
    await removeTemporaryFiles(this.path);
  }

  stop(): void {
    // Nothing is held open.
  }

  async own(password: string, formerPasswords: readonly string[] = []): Promise<void> {
    checkPassword(password);
    try {
      await ensureDirectory(this.path, 0o700);
    } catch (error) {
      throw asAosError(error, `cannot make the directory ${this.path} for keys`);
    }
    this.#refuseShared();
    if (!this.#isOurs([password, ...formerPasswords])) {
      throw new AosError('wrongState', `${this.name} is owned with another password`);
    }
    faultPoint('iam.key-directory.wipe');
    for (const file of this.files()) rmSync(this.pathOf(file));
    syncDirectorySync(this.path);
    writeFileAtomicSync(this.#ownerPath, ownerOf(password), {
      mode: SECRET_MODE,
      faultName: 'iam.key-directory.owner',
    });
  }

  pathOf({ type, keyId, kind }: KeyFileName): string {
    return join(this.path, `${type}.${keyId}.${kind}`);
  }

  /** The files of all types; what else may lie there is none of ours. */
  files(): KeyFileName[] {
    return readdirSync(this.path).flatMap((name) => {
      const [, type, keyId, kind] = OUR_FILE.exec(name) ?? [];
      return type === undefined ? [] : [{ type, keyId: keyId!, kind: kind as KeyFileName['kind'] }];
    });
  }

  get #ownerPath(): string {
    return join(this.path, OWNER_FILE);
  }

  #isOurs(passwords: readonly string[]): boolean {
    const content = readSecretFile(this.#ownerPath);
    if (content === undefined) return true;
    const [, salt, hash] = OWNER.exec(content) ?? [];
    if (salt === undefined) {
      throw new AosError('wrongState', `${this.#ownerPath} is damaged; remove it to have the keys beside it wiped`);
    }
    return passwords.some((password) => timingSafeEqual(hashOf(password, salt), Buffer.from(hash!, 'hex')));
  }

  #refuseShared(): void {
    const stats = statSync(this.path);
    if (!stats.isDirectory()) {
      throw new AosError('invalidArgument', `${this.path} is no directory, expected one for keys`);
    }
    const mode = stats.mode & 0o777;
    if ((mode & WRITABLE_BY_OTHERS) === 0) return;
    throw new AosError(
      'invalidArgument',
      `the directory ${this.path} has mode ${mode.toString(8)}, expected 700: others could put keys of theirs into it`,
    );
  }
}

function ownerOf(password: string): string {
  const salt = randomBytes(16).toString('hex');
  return `scrypt ${salt} ${hashOf(password, salt).toString('hex')}\n`;
}

function hashOf(password: string, salt: string): Buffer {
  return scryptSync(password, Buffer.from(salt, 'hex'), HASH_BYTES);
}

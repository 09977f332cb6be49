/** User PINs of tokens: from a file, made here, or derived for a TEE (spec/iam.md 10.3, 10.4). Never in a log. */
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AosError, asAosError } from '../../core/index.ts';
import { MAX_ENGINE_PIN_BYTES } from '../../platform/token/index.ts';
import { ensureDirectory, writeFileAtomic } from '../../storage/index.ts';
import { MAX_PIN_LENGTH } from '../limits.ts';

/** 30 digits, as the reference makes: the engine of TLS reads no more from a file (docs/decisions/0028-the-engine-reads-the-pin.md). */
const GENERATED_PIN_BYTES = 15;
const PIN_FILE_MODE = 0o600;
const TEE_NAMESPACE = '58ac9ca0-2086-4683-a1b8-ec4bc08e01b6';

/**
 * The PINs that a file may mean, the likelier first: its whole content, then without one trailing newline
 * (spec/decisions.md IA-14). Undefined when there is no file. Throws for a file that cannot be a PIN.
 */
export async function readPins(path: string): Promise<string[] | undefined> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asAosError(error, `cannot read the PIN file ${path}`);
  }
  const trimmed = content.replace(/\r?\n$/, '');
  if (trimmed === '' || trimmed.length > MAX_PIN_LENGTH) {
    throw new AosError(
      'invalidArgument',
      `the PIN file ${path} has ${trimmed.length} characters, expected 1 to ${MAX_PIN_LENGTH}`,
    );
  }
  return trimmed === content ? [content] : [content, trimmed];
}

/**
 * The PIN of the file, for a token that is made ours; one is made and durably written when there is none. Throws
 * `invalidArgument` for one with which the token could not serve TLS.
 */
export async function obtainPin(path: string): Promise<string> {
  const known = (await readPins(path))?.[0];
  if (known !== undefined && Buffer.byteLength(known) > MAX_ENGINE_PIN_BYTES) {
    const found = `the PIN file ${path} has ${Buffer.byteLength(known)} bytes, TLS takes at most ${MAX_ENGINE_PIN_BYTES}`;
    throw new AosError('invalidArgument', `${found}; write a shorter one, or remove the file to have one made`);
  }
  if (known !== undefined) return known;
  const pin = randomBytes(GENERATED_PIN_BYTES).toString('hex');
  await ensureDirectory(dirname(path), 0o700);
  await writeFileAtomic(path, pin, { mode: PIN_FILE_MODE, faultName: 'iam.pin' });
  return pin;
}

/** The user PIN that OP-TEE's token wants for a login type. Throws `invalidArgument` for an unknown type. */
export function teeUserPin(loginType: string, { uid, gid }: { readonly uid: number; readonly gid: number }): string {
  switch (loginType) {
    case 'public':
      return 'public';
    case 'user':
      return `user:${uuidVersion5(TEE_NAMESPACE, `uid=${uid}`)}`;
    case 'group':
      return `group:${uuidVersion5(TEE_NAMESPACE, `gid=${gid}`)}`;
    default:
      throw new AosError('invalidArgument', `CKTEEC_LOGIN_TYPE is "${loginType}", expected public, user or group`);
  }
}

/** Throws `invalidArgument` for a password that no token takes. */
export function checkPassword(password: string): void {
  if (password.length <= MAX_PIN_LENGTH) return;
  throw new AosError('invalidArgument', `the password has ${password.length} characters, at most ${MAX_PIN_LENGTH}`);
}

function uuidVersion5(namespace: string, name: string): string {
  const bytes = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest();
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

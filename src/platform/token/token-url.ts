/** URLs of certificates and keys (spec/iam.md 11, spec/decisions.md IA-16, IA-17). Pure, but for the PIN file. */
import { readFileSync } from 'node:fs';
import { AosError, asAosError } from '../../core/index.ts';

/** The library that a URL without `module-path` means. */
export const DEFAULT_PKCS11_LIBRARY = '/usr/lib/softhsm/libsofthsm2.so';

/** What a `pkcs11:` URL says. */
export interface TokenUrl {
  /** Empty: a token whose label is empty. */
  readonly token: string;
  /** The label of the object: the certificate type. */
  readonly object: string;
  readonly id: Buffer;
  readonly modulePath?: string | undefined;
  readonly pinSource?: string | undefined;
  readonly pinValue?: string | undefined;
}

/** A certificate or key: in a file or in a token. */
export type ObjectUrl = { readonly kind: 'file'; readonly path: string } | ({ readonly kind: 'token' } & TokenUrl);

const percentEncode = (id: Uint8Array) =>
  [...id].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');

/** False for labels that would mislead twins, who look for `id=` anywhere in the text, and for a separator, which would end it. */
export function isClearLabel(label: string): boolean {
  return !/id=|object=|token=|[;?&]/.test(label);
}

/** The URL in the form and order that every AosCore program reads; the `?` is always there. */
export function formatTokenUrl(url: TokenUrl): string {
  const query = [
    ...(url.modulePath === undefined ? [] : [`module-path=${url.modulePath}`]),
    ...(url.pinSource === undefined ? [] : [`pin-source=${url.pinSource}`]),
    ...(url.pinValue === undefined ? [] : [`pin-value=${url.pinValue}`]),
  ].join('&');
  return `pkcs11:token=${url.token};object=${url.object};id=${percentEncode(url.id)}?${query}`;
}

function decodeId(text: string): Buffer {
  if (/^(?:%[0-9A-Fa-f]{2})+$/.test(text)) return Buffer.from(text.replaceAll('%', ''), 'hex');
  if (!text.includes('%')) return Buffer.from(text, 'latin1');
  // Without its text: where a separator was forgotten, the PIN stands in it.
  throw new AosError('invalidArgument', 'the id of a pkcs11 URL is neither raw nor a sequence of %XX');
}

/** Reads a URL of `GetCert`. Throws `invalidArgument` naming what is missing or unknown; never the PIN. */
export function parseObjectUrl(text: string): ObjectUrl {
  if (text.startsWith('file:')) return { kind: 'file', path: text.slice('file:'.length).replace(/^\/\/(?=\/)/, '') };
  if (!text.startsWith('pkcs11:')) {
    const [scheme] = /^[a-z][a-z0-9+.-]{0,31}:/i.exec(text) ?? [];
    const what = scheme === undefined ? 'a URL has no scheme' : `"${scheme}" URLs are unknown`;
    throw new AosError('invalidArgument', `${what}; expected file: or pkcs11:`);
  }
  const values = new Map<string, string>();
  for (const part of text.slice('pkcs11:'.length).split(/[;&?]/)) {
    const equals = part.indexOf('=');
    if (equals > 0) values.set(part.slice(0, equals), part.slice(equals + 1));
  }
  const object = values.get('object');
  const id = values.get('id');
  if (object === undefined || id === undefined) {
    throw new AosError('invalidArgument', `a pkcs11 URL has no "${object === undefined ? 'object' : 'id'}"`);
  }
  if (values.has('pin-source') && values.has('pin-value')) {
    throw new AosError('invalidArgument', 'a pkcs11 URL has both "pin-source" and "pin-value"');
  }
  return {
    kind: 'token',
    token: values.get('token') ?? '',
    object,
    id: decodeId(id),
    modulePath: values.get('module-path'),
    pinSource: values.get('pin-source'),
    pinValue: values.get('pin-value'),
  };
}

/** A PIN file's whole content; a trailing newline may or may not belong to it, so both are tried (IA-14). */
export function pinCandidates(url: TokenUrl): string[] {
  if (url.pinValue !== undefined) return [url.pinValue];
  if (url.pinSource === undefined) return [];
  try {
    const content = readFileSync(url.pinSource, 'utf8');
    const trimmed = content.replace(/\r?\n$/, '');
    return trimmed === content ? [content] : [content, trimmed];
  } catch (error) {
    throw asAosError(error, `cannot read the PIN file ${url.pinSource}`);
  }
}

/** Longest PIN that the OpenSSL engine takes, and the longest that it reads from a file by itself (libp11 0.4.12). */
export const MAX_ENGINE_PIN_BYTES = 32;
const MAX_ENGINE_FILE_PIN_BYTES = 31;

/**
 * The URI that the OpenSSL engine takes for a private key. The engine prints the URI of a key that it does not find, so
 * it names the PIN file wherever the engine can read the PIN from it (docs/decisions/0028-the-engine-reads-the-pin.md).
 * Otherwise it carries the PIN: it goes into TLS options and nowhere else. Throws `notSupported` for a PIN that the
 * engine does not take.
 */
export function engineUri(url: TokenUrl, pin: string | undefined): string {
  const encode = (text: string) => encodeURIComponent(text);
  return `pkcs11:token=${encode(url.token)};object=${encode(url.object)};id=${percentEncode(url.id)};type=private${pinQuery(url, pin)}`;
}

function pinQuery({ token, pinSource }: TokenUrl, pin: string | undefined): string {
  if (pin === undefined) return '';
  const sizeBytes = Buffer.byteLength(pin);
  if (sizeBytes > MAX_ENGINE_PIN_BYTES) {
    const found = `the PIN of the token "${token}" has ${sizeBytes} bytes, TLS takes at most ${MAX_ENGINE_PIN_BYTES}`;
    throw new AosError('notSupported', `${found}; give the token a shorter one and write it into its PIN file`);
  }
  const engineReadsIt = sizeBytes <= MAX_ENGINE_FILE_PIN_BYTES && !pin.includes('\n') && holds(pinSource, pin);
  return engineReadsIt ? `?pin-source=file:${encodeURIComponent(pinSource!)}` : `?pin-value=${encodeURIComponent(pin)}`;
}

/** Whether a PIN file is there and is the PIN, byte by byte. */
function holds(path: string | undefined, pin: string): boolean {
  try {
    return path !== undefined && readFileSync(path, 'utf8') === pin;
  } catch {
    // The PIN was read when the file was there; it goes without it.
    return false;
  }
}

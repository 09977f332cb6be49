/** SoftHSM and the OpenSSL engine for keys in its tokens (docs/keys.md). */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { UnitLayout } from './layout.ts';

const LIBRARY_PLACES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
];

const ENGINE_PLACES = [
  '/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so',
  '/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so',
  '/usr/lib/engines-3/pkcs11.so',
];

function find(places: readonly string[], what: string, debianPackage: string): string {
  const found = places.find((place) => existsSync(place));
  if (found === undefined) throw new Error(`${what} is not installed: apt-get install ${debianPackage}`);
  return found;
}

/** The PKCS#11 library of SoftHSM. */
export function softhsmLibrary(): string {
  return find(LIBRARY_PLACES, 'SoftHSM', 'softhsm2');
}

export function softhsmConf(layout: UnitLayout): string {
  return `directories.tokendir = ${layout.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`;
}

/**
 * Where OpenSSL finds its engine `pkcs11`, and the engine its library, when a key of a token is first asked for
 * (docs/decisions/0008-engine-when-needed.md).
 */
export function engineEnvironment(library = softhsmLibrary()): Record<string, string> {
  const engine = find(ENGINE_PLACES, 'the OpenSSL engine for PKCS#11', 'libengine-pkcs11-openssl');
  return { OPENSSL_ENGINES: dirname(engine), PKCS11_MODULE_PATH: library };
}

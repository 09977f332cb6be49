/** Whether IAM will take the keys that are files (docs/keys.md): whose they are, who may read them, what is in them. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asAosError, isObject } from '../../core/index.ts';
import { member } from './config-member.ts';
import type { KeyDirectoryFact, KeyFact } from './facts.ts';

const WRITABLE_BY_OTHERS = 0o022;
const OPEN_TO_OTHERS = 0o077;
const KEY_OR_CERTIFICATE = /^([A-Za-z0-9_-]+)\.([0-9a-f]{32})\.(?:key|crt)$/;

/** A directory of a configuration of IAM, with the types that keep their keys in it. */
export interface WantedKeys {
  readonly path: string;
  readonly types: readonly string[];
}

/** The directories that a configuration of IAM names, each once. Keys in any case, as IAM reads them. Pure. */
export function keyDirectoriesOf(config: Readonly<Record<string, unknown>>): WantedKeys[] {
  const modules = member(config, 'certModules');
  const found = new Map<string, string[]>();
  for (const module of Array.isArray(modules) ? modules : []) {
    if (!isObject(module) || member(module, 'plugin') !== 'swmodule' || member(module, 'disabled') === true) continue;
    const [type, params] = [member(module, 'id'), member(module, 'params')];
    const path = isObject(params) ? member(params, 'directory') : undefined;
    if (typeof type !== 'string' || typeof path !== 'string') continue;
    found.set(path, [...(found.get(path) ?? []), type]);
  }
  return [...found].map(([path, types]) => ({ path, types }));
}

/** Looks at a directory and the keys in it; keys of types that are configured no more are nobody's concern. */
export async function lookAtKeys({ path, types }: WantedKeys): Promise<KeyDirectoryFact> {
  const fact = (state: KeyDirectoryFact['state'], keys: readonly KeyFact[] = []): KeyDirectoryFact => ({
    ...{ path, types, state, keys },
  });
  try {
    const stats = await stat(path);
    if (!stats.isDirectory()) return fact({ is: 'no directory' });
    if ((stats.mode & WRITABLE_BY_OTHERS) !== 0) return fact({ is: 'shared', mode: octal(stats.mode) });
    const names = await readdir(path);
    if (isForeign(stats.uid)) return fact({ is: 'foreign', uid: stats.uid });
    const found = names.flatMap((name) => {
      const [, type, id] = KEY_OR_CERTIFICATE.exec(name) ?? [];
      return type !== undefined && types.includes(type) ? [`${type}.${id}`] : [];
    });
    const keys = await Promise.all([...new Set(found)].sort().map((name) => lookAtKey(path, name)));
    return fact({ is: 'fine' }, keys);
  } catch (error) {
    return fact({ is: isRefused(error) ? 'closed' : 'absent' });
  }
}

async function lookAtKey(directory: string, name: string): Promise<KeyFact> {
  const path = join(directory, `${name}.key`);
  const fact = (state: KeyFact['state'], more: Pick<KeyFact, 'notAfter'> = {}): KeyFact => ({
    ...{ type: name.split('.')[0]!, path, state },
    ...more,
  });
  try {
    const stats = await lstat(path);
    if (!stats.isFile()) return fact({ is: 'no file' });
    if ((stats.mode & OPEN_TO_OTHERS) !== 0) return fact({ is: 'exposed', mode: octal(stats.mode) });
    if (isForeign(stats.uid)) return fact({ is: 'foreign', uid: stats.uid });
    const text = await readFile(path, 'utf8');
    const { state, ...more } = await judge(text, join(directory, `${name}.crt`));
    return fact(state, more);
  } catch (error) {
    if (isRefused(error)) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return fact({ is: 'absent' });
    return fact({ is: 'unreadable', detail: asAosError(error).message });
  }
}

/** The key itself goes nowhere but into this question. */
async function judge(text: string, certificatePath: string): Promise<Pick<KeyFact, 'state' | 'notAfter'>> {
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(text);
  } catch (error) {
    return { state: { is: 'damaged', detail: (error as NodeJS.ErrnoException).code ?? 'it is no PEM' } };
  }
  try {
    const certificate = new X509Certificate(await readFile(certificatePath));
    return certificate.checkPrivateKey(key)
      ? { state: { is: 'fine' }, notAfter: certificate.validToDate.toISOString() }
      : { state: { is: 'other certificate' } };
  } catch (error) {
    // A key waits for its certificate while it is renewed; one whose certificate is damaged is the key of none.
    return { state: { is: (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'fine' : 'other certificate' } };
  }
}

/** IAM is root, or on a developer's machine whoever asks. */
const isForeign = (uid: number): boolean => uid !== 0 && uid !== process.geteuid?.();

const isRefused = (error: unknown): boolean =>
  ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(3, '0');

/** Whether the daemons can open the tokens that hold their keys. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { asAosError, isAosError, isObject } from '../../core/index.ts';
import { loadPkcs11, type Pkcs11Library, type TokenSelector, type TokenSession } from '../../platform/token/index.ts';
import { member } from './config-member.ts';
import type { KeptCertificate, TokenFact } from './facts.ts';

/** Where the package says which token store SoftHSM uses. */
const DAEMON_ENVIRONMENT = '/etc/default/aoscore';
const DEFAULT_LABEL = 'aos';

/** One token of a configuration of IAM; several kinds of certificates share one. */
export interface WantedToken extends TokenSelector {
  readonly library: string;
  readonly pinFile: string;
  /** Certificate types that have their keys in it. */
  readonly types: readonly string[];
}

/** The tokens that a configuration of IAM names, each once. Keys in any case, as IAM reads them. Pure. */
export function tokensOf(config: Readonly<Record<string, unknown>>): WantedToken[] {
  const modules = member(config, 'certModules');
  const found = new Map<string, WantedToken>();
  for (const module of Array.isArray(modules) ? modules : []) {
    if (!isObject(module) || member(module, 'disabled') === true) continue;
    const params = member(module, 'params');
    if (!isObject(params)) continue;
    const [library, pinFile] = [member(params, 'library'), member(params, 'userPinPath')];
    if (typeof library !== 'string' || typeof pinFile !== 'string') continue;
    const [slotId, slotIndex] = [member(params, 'slotID'), member(params, 'slotIndex')];
    const label = String(member(params, 'tokenLabel') || DEFAULT_LABEL);
    const selector: TokenSelector =
      typeof slotId === 'number' ? { slotId } : typeof slotIndex === 'number' ? { slotIndex } : { label };
    const token = { library, pinFile, ...selector };
    const key = JSON.stringify(token);
    const types = found.get(key)?.types ?? [];
    const type = member(module, 'id');
    found.set(key, { ...token, types: typeof type === 'string' ? [...types, type] : types });
  }
  return [...found.values()];
}

/**
 * Looks at a token. `tries`: logs in as well, which costs one of the few tries of a hardware token when the PIN is wrong;
 * so it is done only when IAM does not run, and never after a try that failed.
 */
export async function lookAtToken(
  wanted: WantedToken,
  tries: boolean,
  load: (path: string) => Pkcs11Library = loadPkcs11,
): Promise<TokenFact> {
  const { library, pinFile, types, ...selector } = wanted;
  const name = selector.label ?? `slot ${selector.slotId ?? selector.slotIndex}`;
  const fact = (state: TokenFact['state'], detail?: string): TokenFact => ({
    ...{ name, library, pinFile, state },
    ...(detail !== undefined && { detail }),
  });
  let pin: string;
  try {
    pin = (await readFile(pinFile, 'utf8')).trim();
  } catch (error) {
    const aos = asAosError(error);
    const system = (error as NodeJS.ErrnoException).code;
    return fact(system === 'ENOENT' ? 'no pin' : system === 'EACCES' ? 'closed pin' : 'failed', aos.message);
  }
  if (pin === '') return fact('empty pin');
  if (!tries) return fact('fine');
  await adoptEnvironment();
  let opened: Pkcs11Library;
  try {
    opened = load(library);
  } catch (error) {
    return fact('no library', asAosError(error).message);
  }
  try {
    const { slotId, userPin } = opened.find(selector);
    if (userPin !== 'fine') return fact(userPin === 'locked' ? 'locked pin' : 'wrong pin');
    const session = opened.open(slotId, pin);
    const certificates = types.flatMap((type) => certificatesOf(session, type));
    session.close();
    return { ...fact('fine'), certificates };
  } catch (error) {
    const { message } = asAosError(error);
    return fact(
      isAosError(error, 'notFound') ? 'no token' : isAosError(error, 'wrongState') ? 'wrong pin' : 'failed',
      message,
    );
  } finally {
    opened.close();
  }
}

/** Certificates whose keys are in the token; those of issuers have none. One that cannot be read is none to IAM, either. */
function certificatesOf(session: TokenSession, type: string): KeptCertificate[] {
  const ids = new Set(session.list({ kind: 'privateKey', label: type }).map(({ id }) => id.toString('hex')));
  const own = session.list({ kind: 'certificate', label: type }).filter(({ id }) => ids.has(id.toString('hex')));
  return own.flatMap((object) => {
    try {
      return [{ type, notAfter: new X509Certificate(session.certificate(object)).validToDate.toISOString() }];
    } catch {
      return [];
    }
  });
}

/** The daemons find the tokens of SoftHSM by a variable that a shell does not have. */
async function adoptEnvironment(): Promise<void> {
  if (process.env.SOFTHSM2_CONF !== undefined) return;
  // On a machine without our package there is no such file.
  const text = await readFile(DAEMON_ENVIRONMENT, 'utf8').catch(() => '');
  const path = /^SOFTHSM2_CONF=(\S+)$/m.exec(text)?.[1];
  if (path !== undefined) process.env.SOFTHSM2_CONF = path;
}

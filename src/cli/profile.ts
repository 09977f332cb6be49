/** Where a cloud and a unit are, and who asks: from options, the environment and a profile file, in this order. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import * as z from 'zod';
import { AosError, parseJson, readDocument } from '../core/index.ts';

const Profile = z.object({
  /** `https://host:10000`. */
  cloud: z.string().optional(),
  /** PEM files of the operator. */
  cert: z.string().optional(),
  key: z.string().optional(),
  /** PKCS#12 file of the operator, instead of `cert` and `key`. */
  p12: z.string().optional(),
  /** PEM file with the root of the cloud. */
  ca: z.string().optional(),
  /** Unit that is meant when no `--unit` is given. */
  unit: z.string().optional(),
  /** Control socket of the local CM. */
  socket: z.string().optional(),
  /** Configurations of the daemons of this machine, and files of logs where there is no journal. */
  configDir: z.string().optional(),
  logDir: z.string().optional(),
  /** Why something is changed, for the audit of the cloud. */
  because: z.string().max(256).optional(),
});

export type Profile = z.infer<typeof Profile>;

/** Members that name files; relative ones are relative to the profile. */
const FILES = ['cert', 'key', 'p12', 'ca', 'socket', 'configDir', 'logDir'] as const;

export const DEFAULT_SOCKET = '/run/aos/cm.sock';
export const DEFAULT_CONFIG_DIR = '/etc/aos';

function defaultProfilePath(): string {
  return join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'aosctl.json');
}

/**
 * Reads a profile file. A named one must exist, the default one (`~/.config/aosctl.json`) need not.
 * Throws `invalidArgument` naming the fault.
 */
export function loadProfile(named: string | undefined): Profile {
  const path = resolve(named ?? defaultProfilePath());
  if (!existsSync(path)) {
    if (named === undefined) return {};
    throw new AosError('invalidArgument', `the profile ${path} does not exist`);
  }
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new AosError('invalidArgument', `cannot read the profile ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const profile: Profile = readDocument(Profile, parseJson(text, path), { what: path }).value;
  for (const name of FILES) {
    const file = profile[name];
    if (file !== undefined) profile[name] = resolve(dirname(path), file);
  }
  return profile;
}

/** Options of the command line win over the profile. Throws `invalidArgument` naming one that is empty. */
export function mergeProfile(profile: Profile, options: Profile): Profile {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const empty = given.find(([, value]) => value === '');
  if (empty) {
    throw new AosError('invalidArgument', `--${empty[0]} is empty: name what is meant, or leave it out`);
  }
  return { ...profile, ...Object.fromEntries(given) };
}

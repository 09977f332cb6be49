/** Named network namespaces as `ip netns` keeps them: files below /run/netns. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';
import { execProgram, quote } from '../program/index.ts';

export const NETNS_DIRECTORY = '/run/netns';

/** Bound of one batch (spec/decisions.md 8.2). */
const BATCH_MS = 30_000;

/** The file of a namespace, by which an OCI runtime joins it. */
export function netnsPath(name: string): string {
  return join(NETNS_DIRECTORY, name);
}

export interface NetworkNamespaces {
  /** Creates those that are missing, each with its loopback interface up; one helper for all of them. */
  create(names: readonly string[], signal: AbortSignal): Promise<void>;
  /** Removes those that exist. */
  remove(names: readonly string[], signal: AbortSignal): Promise<void>;
  list(): Promise<string[]>;
}

/** The lines are read by `ip -batch`; a name that could be more than one word has no business here. */
function checkName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new AosError('invalidArgument', `"${name}" cannot be the name of a network namespace`);
}

/** The lines of `ip -batch` that make and remove a namespace, for batches with more in them. */
export function netnsLines(name: string): { readonly add: string; readonly delete: string } {
  const checked = checkName(name);
  return { add: `netns add ${checked}`, delete: `netns delete ${checked}` };
}

export class HostNetworkNamespaces implements NetworkNamespaces {
  async create(names: readonly string[], signal: AbortSignal): Promise<void> {
    const missing = names.map(checkName).filter((name) => !existsSync(netnsPath(name)));
    const lines = missing.flatMap((name) => [`netns add ${name}`, `netns exec ${name} ip link set lo up`]);
    await this.#batch(lines, signal);
  }

  async remove(names: readonly string[], signal: AbortSignal): Promise<void> {
    const present = names.map(checkName).filter((name) => existsSync(netnsPath(name)));
    await this.#batch(
      present.map((name) => `netns delete ${name}`),
      signal,
    );
  }

  async list(): Promise<string[]> {
    try {
      return await readdir(NETNS_DIRECTORY);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw asAosError(error, 'cannot list the network namespaces');
    }
  }

  async #batch(lines: readonly string[], signal: AbortSignal): Promise<void> {
    if (lines.length === 0) return;
    faultPoint('netns.batch');
    const options = { signal, timeoutMs: BATCH_MS, input: `${lines.join('\n')}\n` };
    const { exitCode, output } = await execProgram('ip', ['-force', '-batch', '-'], options);
    if (exitCode !== 0) throw new AosError('runtime', `ip netns: ${quote(output)}`, { exitCode });
  }
}

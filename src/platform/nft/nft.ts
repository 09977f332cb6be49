/** The host's firewall, as the program `nft` sees it. One script is one atomic transaction. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AosError, faultPoint, parseJson, throwIfCanceled } from '../../core/index.ts';
import { OWN_CHILDREN, type Programs } from '../program/index.ts';

const run = promisify(execFile);

/** Bound of one call (spec/decisions.md 8.2). */
const CALL_MS = 30_000;
const MAX_LISTING_BYTES = 64 * 1024 * 1024;
const MAX_WORDS = 400;

export interface Nft {
  /** Carries out all statements or none. Throws `runtime` with nft's own words. */
  apply(statements: readonly string[], signal: AbortSignal): Promise<void>;
  /** The JSON of a table, or undefined when there is none. */
  list(table: string, signal: AbortSignal): Promise<unknown>;
}

export class HostNft implements Nft {
  readonly #programs: Programs;

  constructor(programs: Programs = OWN_CHILDREN) {
    this.#programs = programs;
  }

  async apply(statements: readonly string[], signal: AbortSignal): Promise<void> {
    if (statements.length === 0) return;
    faultPoint('nft.apply');
    const options = { signal, timeoutMs: CALL_MS, input: `${statements.join('\n')}\n` };
    const { exitCode, output } = await this.#programs.run(['nft', '-f', '-'], options);
    if (exitCode !== 0) throw new AosError('runtime', `nft: ${output.trim().slice(0, MAX_WORDS)}`, { exitCode });
    faultPoint('nft.applied');
  }

  async list(table: string, signal: AbortSignal): Promise<unknown> {
    throwIfCanceled(signal);
    try {
      const args = ['-j', 'list', 'table', 'inet', table];
      const { stdout } = await run('nft', args, { signal, timeout: CALL_MS, maxBuffer: MAX_LISTING_BYTES });
      return parseJson(stdout, `the listing of table ${table}`);
    } catch (error) {
      const words = String((error as { stderr?: unknown }).stderr ?? error);
      if (words.includes('No such file or directory')) return undefined;
      throw new AosError('runtime', `nft cannot list table ${table}: ${words.trim().slice(0, MAX_WORDS)}`, {
        cause: error,
      });
    }
  }
}

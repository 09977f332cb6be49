/** Links and addresses of the host: many at a time by `ip`, shaping by `tc`, the inside of namespaces and the list by the kernel itself. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AosError, faultPoint, parseJson, throwIfCanceled } from '../../core/index.ts';
import { type ExecResult, OWN_CHILDREN, type Programs } from '../program/index.ts';
import { type InsidePlan, KernelLinks } from './kernel-links.ts';

const run = promisify(execFile);

/** Bound of one batch (spec/decisions.md 8.2). */
const BATCH_MS = 30_000;
const MAX_LISTING_BYTES = 64 * 1024 * 1024;
const MAX_WORDS = 400;

export interface Link {
  readonly name: string;
  /** Name of the bridge that it is a port of. */
  readonly master?: string | undefined;
  /** `bridge`, `veth`, `vlan` …; absent for devices of the hardware. */
  readonly kind?: string | undefined;
}

export interface Route {
  /** `172.17.0.0/16`, or an address alone. */
  readonly destination: string;
  readonly device: string;
}

export interface Links {
  /**
   * Lines of `ip -batch`, then the inside of namespaces. Ends at the first that fails. Throws `runtime` with the words of
   * the program or of the kernel.
   */
  batch(lines: readonly string[], signal: AbortSignal, inside?: readonly InsidePlan[]): Promise<void>;
  /** Lines of `ip -batch`, all of which are tried; answers the words of those that failed, which may be empty. */
  tryAll(lines: readonly string[], signal: AbortSignal): Promise<string>;
  /** Lines of `tc -batch`. */
  shape(lines: readonly string[], signal: AbortSignal): Promise<void>;
  list(signal: AbortSignal): Promise<readonly Link[]>;
  /** Of IPv4, without the default route. */
  routes(signal: AbortSignal): Promise<readonly Route[]>;
  /** The interface of the default route. */
  defaultInterface(signal: AbortSignal): Promise<string | undefined>;
}

export class HostLinks implements Links {
  readonly #programs: Programs;
  readonly #kernel = new KernelLinks();

  constructor(programs: Programs = OWN_CHILDREN) {
    this.#programs = programs;
  }

  async batch(lines: readonly string[], signal: AbortSignal, inside: readonly InsidePlan[] = []): Promise<void> {
    await this.#runBatch('ip', lines, signal);
    for (const plan of inside) {
      faultPoint('ip.inside');
      await this.#kernel.furnish(plan, signal);
    }
  }

  async tryAll(lines: readonly string[], signal: AbortSignal): Promise<string> {
    if (lines.length === 0) return '';
    faultPoint('ip.batch');
    const { output } = await this.#programs.run(['ip', '-force', '-batch', '-'], batchOptions(lines, signal));
    return output.trim();
  }

  shape(lines: readonly string[], signal: AbortSignal): Promise<void> {
    return this.#runBatch('tc', lines, signal);
  }

  async list(signal: AbortSignal): Promise<readonly Link[]> {
    const links = await this.#kernel.list(signal);
    const names = new Map(links.map(({ index, name }) => [index, name]));
    return links.map(({ name, master, kind }) => ({
      ...{ name, kind },
      master: master === undefined ? undefined : names.get(master),
    }));
  }

  async routes(signal: AbortSignal): Promise<readonly Route[]> {
    const routes = (await ask(['-j', '-4', 'route', 'show'], signal)) as readonly { dst?: string; dev?: string }[];
    return routes.flatMap(({ dst, dev }) =>
      dst === undefined || dst === 'default' ? [] : [{ destination: dst, device: dev ?? '' }],
    );
  }

  async defaultInterface(signal: AbortSignal): Promise<string | undefined> {
    const routes = (await ask(['-j', 'route', 'show', 'default'], signal)) as readonly { dev?: string }[];
    return routes[0]?.dev;
  }

  async #runBatch(program: 'ip' | 'tc', lines: readonly string[], signal: AbortSignal): Promise<void> {
    if (lines.length === 0) return;
    faultPoint(`${program}.batch`);
    complain(program, await this.#programs.run([program, '-batch', '-'], batchOptions(lines, signal)));
  }
}

function complain(program: string, { exitCode, output }: ExecResult): void {
  if (exitCode !== 0) throw new AosError('runtime', `${program}: ${output.trim().slice(0, MAX_WORDS)}`, { exitCode });
}

function batchOptions(lines: readonly string[], signal: AbortSignal) {
  return { signal, timeoutMs: BATCH_MS, input: `${lines.join('\n')}\n` };
}

async function ask(args: readonly string[], signal: AbortSignal): Promise<unknown> {
  throwIfCanceled(signal);
  const { stdout } = await run('ip', args, { signal, timeout: BATCH_MS, maxBuffer: MAX_LISTING_BYTES });
  return stdout.trim() === '' ? [] : parseJson(stdout, `ip ${args.join(' ')}`);
}

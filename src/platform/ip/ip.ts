/** Links and addresses of the host, as the program `ip` sees them; shaping, as `tc` does. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AosError, faultPoint, parseJson, throwIfCanceled } from '../../core/index.ts';
import { type ExecResult, execProgram } from '../oci-runtime/index.ts';

const run = promisify(execFile);

/** Bound of one batch (spec/decisions.md 8.2). */
const BATCH_MS = 30_000;
const MAX_LISTING_BYTES = 64 * 1024 * 1024;
const MAX_WORDS = 400;
/** Ends the lines of one namespace; no command of `ip`. */
const END = 'end-of-lines';

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

/** Lines for the inside of one network namespace. */
export interface InsideLines {
  /** Its name. */
  readonly netns: string;
  readonly lines: readonly string[];
}

export interface Links {
  /**
   * Lines of `ip -batch`, then those for the inside of namespaces: one program for the former, one shell for the latter. Ends at the first line that
   * fails. Throws `runtime` with the program's own words.
   */
  batch(lines: readonly string[], signal: AbortSignal, inside?: readonly InsideLines[]): Promise<void>;
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

interface ListedLink {
  readonly ifname?: string;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

export class HostLinks implements Links {
  async batch(lines: readonly string[], signal: AbortSignal, inside: readonly InsideLines[] = []): Promise<void> {
    await runBatch('ip', lines, signal);
    if (inside.length === 0) return;
    // A batch can enter a namespace only to run a program there, in a copy of all mounts that is paid for twice; a shell
    // that runs one program for each namespace takes three quarters of that.
    const script = inside.map(({ netns, lines: own }) => {
      return [`ip -n '${checkedName(netns)}' -batch - <<'${END}' || exit`, ...own, END].join('\n');
    });
    await runScript(script, signal);
  }

  async tryAll(lines: readonly string[], signal: AbortSignal): Promise<string> {
    if (lines.length === 0) return '';
    faultPoint('ip.batch');
    const { output } = await execProgram('ip', ['-force', '-batch', '-'], batchOptions(lines, signal));
    return output.trim();
  }

  shape(lines: readonly string[], signal: AbortSignal): Promise<void> {
    return runBatch('tc', lines, signal);
  }

  async list(signal: AbortSignal): Promise<readonly Link[]> {
    const links = (await ask(['-j', '-d', 'link', 'show'], signal)) as readonly ListedLink[];
    return links.flatMap(({ ifname, master, linkinfo }) =>
      ifname === undefined ? [] : [{ name: ifname, master, kind: linkinfo?.info_kind }],
    );
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
}

async function runBatch(program: 'ip' | 'tc', lines: readonly string[], signal: AbortSignal): Promise<void> {
  if (lines.length === 0) return;
  faultPoint(`${program}.batch`);
  complain(program, await execProgram(program, ['-batch', '-'], batchOptions(lines, signal)));
}

async function runScript(lines: readonly string[], signal: AbortSignal): Promise<void> {
  faultPoint('ip.inside');
  complain('ip', await execProgram('sh', ['-s'], batchOptions(lines, signal)));
}

function complain(program: string, { exitCode, output }: ExecResult): void {
  if (exitCode !== 0) throw new AosError('runtime', `${program}: ${output.trim().slice(0, MAX_WORDS)}`, { exitCode });
}

/** A shell reads it: whatever could end its quotes has no business here. */
function checkedName(netns: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(netns)) return netns;
  throw new AosError('invalidArgument', `"${netns}" cannot be the name of a network namespace`);
}

function batchOptions(lines: readonly string[], signal: AbortSignal) {
  return { signal, timeoutMs: BATCH_MS, input: `${lines.join('\n')}\n` };
}

async function ask(args: readonly string[], signal: AbortSignal): Promise<unknown> {
  throwIfCanceled(signal);
  const { stdout } = await run('ip', args, { signal, timeout: BATCH_MS, maxBuffer: MAX_LISTING_BYTES });
  return stdout.trim() === '' ? [] : parseJson(stdout, `ip ${args.join(' ')}`);
}

/** What /proc tells of a process. The files are made in memory, so they are read at once, without waiting. */
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** A process that cannot be mistaken for another one which later got the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, as text: field 22 of /proc/<pid>/stat. */
  readonly startTime: string;
}

function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // ENOENT and ESRCH both say that it has ended.
    return undefined;
  }
}

/** Who has this number now; undefined when nobody, or only the remains of an ended process that wait for its parent. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const stat = readProc(pid, 'stat');
  if (stat === undefined) return undefined;
  // The name is in parentheses and may hold anything, also spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startTime = fields[19];
  if (state === 'Z' || state === 'X' || startTime === undefined) return undefined;
  return { pid, startTime };
}

/** True while exactly this process runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTime === identity.startTime;
}

/** Sends a signal; false when the process has already ended. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals | number): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * True when the process catches or blocks the signal. The kernel discards any other signal that is sent to the first
 * process of a container, since that has no default action (spec/decisions.md 5.4).
 */
export function handlesSignal(pid: number, signal: number): boolean {
  const status = readProc(pid, 'status') ?? '';
  const bit = 1n << BigInt(signal - 1);
  return ['SigCgt', 'SigBlk'].some((name) => {
    const mask = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & bit) !== 0n;
  });
}

/** Cgroup paths of a process, one per hierarchy. */
export function cgroupsOf(pid: number): string[] {
  return (readProc(pid, 'cgroup') ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':').slice(2).join(':'));
}

/** Reads `SIGTERM`, `TERM`, `15`; real-time signals as `SIGRTMIN+3` or numbers up to 64. Undefined: there is none. */
export function parseSignal(text: string): number | undefined {
  const word = text.trim().toUpperCase();
  if (/^\d{1,2}$/.test(word)) {
    const number = Number(word);
    return number >= 1 && number <= 64 ? number : undefined;
  }
  const realTime = /^(?:SIG)?RTM(IN|AX)(?:([+-])(\d{1,2}))?$/.exec(word);
  if (realTime) {
    const [, base, sign, offset = '0'] = realTime;
    const number = (base === 'IN' ? 34 : 64) + (sign === '-' ? -1 : 1) * Number(offset);
    return number >= 34 && number <= 64 ? number : undefined;
  }
  const name = word.startsWith('SIG') ? word : `SIG${word}`;
  return (constants.signals as Readonly<Record<string, number>>)[name];
}

/** Kills what a process has started, and itself last; who ends meanwhile does not matter. */
export function endDescendants(pid: number): void {
  for (const child of childrenOf(pid)) endDescendants(child);
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whom a process has started, or taken over, as far as they still run. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => parentOf(other) === pid);
}

/** All processes that have started, or taken over, one that still runs. */
export function parents(): ReadonlySet<number> {
  const numbers = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return new Set(numbers.map((name) => parentOf(Number(name)) ?? 0));
}

/** Who started a process, or took it over; undefined when it is gone. */
export function parentOf(pid: number): number | undefined {
  const stat = readProc(pid, 'stat');
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** The words that a process was started with; none when it has ended. */
export function commandLineOf(pid: number): string[] {
  return (readProc(pid, 'cmdline') ?? '').split('\0').slice(0, -1);
}

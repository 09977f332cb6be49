/** Whether the services stop with the service manager (spec/decisions.md 5.7). */
import { existsSync, readFileSync } from 'node:fs';
import { AosError } from '../core/index.ts';
import { execProgram } from '../platform/program/index.ts';
import { rebootByCommand, rebootByUnit } from '../platform/systemd/index.ts';

/** What systemd is about to do with the unit of this process. */
export type UnitJob = 'stop' | 'restart' | 'none' | 'no systemd';

export interface StopFacts {
  readonly policy: 'auto' | 'always' | 'never';
  readonly job: UnitJob;
}

/** Without systemd nobody but a person, or a supervisor that means it, ends the process. */
export function shouldStopInstances({ policy, job }: StopFacts): boolean {
  if (policy !== 'auto') return policy === 'always';
  return job === 'stop' || job === 'no systemd';
}

const ASK_TIMEOUT_MS = 3_000;

/** Asks systemd; a systemd that does not answer is taken to have no job, so that nothing is stopped by mistake. */
export async function currentUnitJob(): Promise<UnitJob> {
  const unit = unitOf(readFileSync('/proc/self/cgroup', 'utf8'));
  if (unit === undefined || !existsSync('/run/systemd/system')) return 'no systemd';
  const options = { signal: AbortSignal.timeout(ASK_TIMEOUT_MS), timeoutMs: ASK_TIMEOUT_MS };
  try {
    const { output } = await execProgram('systemctl', ['list-jobs', '--no-legend', '--plain'], options);
    return parseJobs(output, unit);
  } catch {
    return 'none';
  }
}

/**
 * Reboots the node by the command, else by systemd, which stops us in order (spec/sm.md 6.4). Throws `runtime` in its
 * words, `timeout`, `notSupported` without either.
 */
export async function rebootNode(command: readonly [string, ...string[]] | undefined): Promise<void> {
  if (command) return rebootByCommand(command);
  if (!existsSync('/run/systemd/system')) {
    throw new AosError('notSupported', 'without systemd and without "rebootCommand" the node is not rebooted');
  }
  await rebootByUnit();
}

/** The service in `/proc/self/cgroup`, in any of its hierarchies. */
export function unitOf(cgroups: string): string | undefined {
  return /\/([^/\n]+\.service)(?:\/|$)/m.exec(cgroups)?.[1];
}

/** Lines of `systemctl list-jobs`: number, unit, type, state. */
export function parseJobs(listing: string, unit: string): UnitJob {
  const line = listing
    .split('\n')
    .map((text) => text.trim().split(/\s+/))
    .find((words) => words[1] === unit);
  if (!line) return 'none';
  return line[2] === 'stop' ? 'stop' : 'restart';
}

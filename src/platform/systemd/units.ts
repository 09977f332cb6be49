/** Units of systemd by `systemctl` (spec/sm.md 6.4). */
import { AosError } from '../../core/index.ts';
import { execProgram, mustExec } from '../program/index.ts';

/** How services of the host do. */
export interface Units {
  /** `active`, `activating`, `failed`, … Throws `notFound` for an unknown unit, `runtime` in systemd's words. */
  activeState(unit: string, signal: AbortSignal): Promise<string>;
}

const ASK_MS = 10_000;
/** A job that takes longer has failed (spec/decisions.md 8.2). */
const JOB_MS = 60_000;
const REBOOT_UNIT = 'aos-reboot.service';

export class SystemdUnits implements Units {
  async activeState(unit: string, signal: AbortSignal): Promise<string> {
    const args = ['show', '--property=LoadState,ActiveState', '--', unit];
    const { exitCode, output } = await execProgram('systemctl', args, { signal, timeoutMs: ASK_MS });
    const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(output)?.[1];
    const state = value('ActiveState');
    if (exitCode !== 0 || state === undefined) {
      throw new AosError('runtime', `systemctl show ${unit}: exit=${exitCode}: ${output.trim()}`, { exitCode });
    }
    if (value('LoadState') === 'not-found') throw new AosError('notFound', `this node has no unit ${unit}`);
    return state;
  }
}

/**
 * Reboots the node by the unit that exists for it, so that systemd ends everything in order. Throws `runtime` in
 * systemd's words, `timeout`.
 */
export async function rebootByUnit(): Promise<void> {
  const args = ['start', '--job-mode=replace-irreversibly', REBOOT_UNIT];
  await mustExec('systemctl', args, { signal: AbortSignal.timeout(JOB_MS), timeoutMs: JOB_MS });
}

/** Reboots the node by a command of its own. Throws `runtime` in its words, `timeout`. */
export async function rebootByCommand([program, ...args]: readonly [string, ...string[]]): Promise<void> {
  await mustExec(program, args, { signal: AbortSignal.timeout(JOB_MS), timeoutMs: JOB_MS });
}

/** Units in memory: their states, or what asking for them fails with. */
export class FakeUnits implements Units {
  readonly states = new Map<string, string | AosError>();

  async activeState(unit: string): Promise<string> {
    const state = this.states.get(unit) ?? new AosError('notFound', `this node has no unit ${unit}`);
    if (state instanceof AosError) throw state;
    return state;
  }
}

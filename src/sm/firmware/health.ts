/** Whether the services that count became active on new firmware (spec/sm.md 6.4). */
import { AosError, asAosError, type Clock, throwIfCanceled } from '../../core/index.ts';
import type { Units } from '../../platform/systemd/index.ts';

/** Pauses between the attempts (spec/decisions.md 8.2). */
const PAUSES_MS = [10_000, 20_000, 40_000, 60_000];

export interface HealthParts {
  readonly units: Units;
  readonly services: readonly string[];
  readonly clock: Clock;
}

/**
 * Resolves when all are active. Throws `failed` naming the first service that is not, at once when it has failed, else
 * after the last attempt; `canceled`.
 */
export async function checkHealth({ units, services, clock }: HealthParts, signal: AbortSignal): Promise<void> {
  for (const pauseMs of [...PAUSES_MS, undefined]) {
    const waiting = await firstWaiting(units, services, signal);
    if (waiting === undefined) return;
    if (pauseMs === undefined) throw new AosError('failed', `health check: ${waiting}`);
    await clock.sleep(pauseMs, signal);
  }
}

async function firstWaiting(
  units: Units,
  services: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  let waiting: string | undefined;
  for (const service of services) {
    let state: string;
    try {
      state = await units.activeState(service, signal);
    } catch (error) {
      throwIfCanceled(signal);
      waiting ??= `${service}: ${asAosError(error).message}`;
      continue;
    }
    if (state === 'failed') throw new AosError('failed', `health check: ${service} is failed`);
    if (state !== 'active') waiting ??= `${service} is ${state}`;
  }
  return waiting;
}

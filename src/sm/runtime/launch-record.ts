/** How an item asks to be supervised. Pure. */
import { AosError, instanceName } from '../../core/index.ts';
import { parseSignal } from '../../platform/proc/index.ts';
import type { StartRequest } from '../model.ts';
import { readProbes } from '../supervision/index.ts';
import { itemConfigOf } from './build-oci-config.ts';
import type { LaunchRecord } from './runtime-model.ts';

const SIGTERM = 15;
/** A stop may not be held up longer (spec/decisions.md 5.4). */
const MAX_STOP_TIMEOUT_MS = 60_000;

/** Throws `invalidArgument` naming a probe or a stop signal that means nothing, or a user that no service may be. */
export function launchRecord({ info, item, network }: StartRequest, defaultStopTimeoutMs: number): LaunchRecord {
  // A CM that assigned none leaves zeros, which are root.
  if (info.uid === 0 || info.gid === 0) {
    throw new AosError(
      'invalidArgument',
      `uid ${info.uid} and gid ${info.gid}: a service needs a user of its own, not root`,
    );
  }
  const config = itemConfigOf(item);
  const stopSignal = item.imageConfig?.config.stopSignal;
  const signal = stopSignal === undefined || stopSignal === '' ? SIGTERM : parseSignal(stopSignal);
  if (signal === undefined) {
    throw new AosError('invalidArgument', `"${stopSignal}" of ${instanceName(info.ident)} is no stop signal`);
  }
  const probes = readProbes(config.probes);
  return {
    info,
    run: config.runParameters,
    restart: config.restart ?? 'always',
    stopSignal: signal,
    stopTimeoutMs: Math.min(config.stopTimeoutMs ?? defaultStopTimeoutMs, MAX_STOP_TIMEOUT_MS),
    ramLimit: config.quotas.ramLimit,
    probe: probes.start,
    live: probes.live,
    netnsPath: network.netnsPath,
    hasPermissions: Object.keys(config.permissions).length > 0,
    restarts: 0,
  };
}

/** When a service that ended by itself is started again (spec/decisions.md 5.3). Pure; times on the monotonic clock. */

export interface RunParameters {
  /** W: restarts within this time are counted. */
  readonly startIntervalMs: number;
  /** B: so many are made; 0 or less: no limit. */
  readonly startBurst: number;
  /** P: pause before a restart. */
  readonly restartIntervalMs: number;
}

export interface RunHistory {
  /** When restarts were made, oldest first. */
  readonly restartsAtMs: readonly number[];
  /** The pause before the last one. */
  readonly lastPauseMs?: number | undefined;
}

export type RestartDecision =
  | { readonly do: 'restart'; readonly pauseMs: number; readonly because: string }
  | { readonly do: 'giveUp'; readonly restarts: number; readonly because: string };

const MIN_PAUSE_MS = 100;
const MAX_PAUSE_MS = 60_000;
/** As many as the history keeps (spec/decisions.md 8.3). */
const MAX_REMEMBERED = 1024;

/** What to do about an exit at `nowMs` after a run of `uptimeMs`. */
export function planRestart(
  { startIntervalMs, startBurst, restartIntervalMs }: RunParameters,
  history: RunHistory,
  nowMs: number,
  uptimeMs: number,
): RestartDecision {
  const firstPauseMs = Math.max(restartIntervalMs, MIN_PAUSE_MS);
  if (startBurst <= 0) {
    const isShort = uptimeMs < startIntervalMs;
    const pauseMs =
      isShort && history.lastPauseMs !== undefined
        ? Math.max(firstPauseMs, Math.min(history.lastPauseMs * 2, MAX_PAUSE_MS))
        : firstPauseMs;
    return { do: 'restart', pauseMs, because: 'it is restarted without limit' };
  }
  const recent = history.restartsAtMs.filter((at) => nowMs - at <= startIntervalMs).length;
  if (recent >= startBurst) {
    return {
      do: 'giveUp',
      restarts: recent,
      because: `${recent} restarts within ${startIntervalMs} ms are the limit`,
    };
  }
  return { do: 'restart', pauseMs: firstPauseMs, because: `restart ${recent + 1} of ${startBurst}` };
}

/** The history after a restart was made. */
export function recordRestart(history: RunHistory, atMs: number, pauseMs: number): RunHistory {
  return { restartsAtMs: [...history.restartsAtMs, atMs].slice(-MAX_REMEMBERED), lastPauseMs: pauseMs };
}

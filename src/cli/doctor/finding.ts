/** One judgement of `aosctl doctor`. */
export type Level = 'ok' | 'warning' | 'fault';

export interface Finding {
  /** What was looked at: `memory limits`, `daemon aos-cm`. */
  readonly check: string;
  readonly level: Level;
  readonly found: string;
  /** What to do; absent when nothing is wrong. */
  readonly cure?: string;
}

export const ok = (check: string, found: string): Finding => ({ check, level: 'ok', found });
export const warning = (check: string, found: string, cure: string): Finding => ({
  ...{ check, level: 'warning', found, cure },
});
export const fault = (check: string, found: string, cure: string): Finding => ({
  ...{ check, level: 'fault', found, cure },
});

/** An error behind what was found. */
export const told = (error: string | undefined): string => (error ? `: ${error}` : '');

/** Codes of the close frames that units get. */
export const CLOSE = { goingAway: 1001, policy: 1008, failed: 1011 } as const;

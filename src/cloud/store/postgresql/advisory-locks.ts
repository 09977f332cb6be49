/** Locks of the database that have a meaning for all processes of one cloud. */

/** "aos" and a number: another program in the same database is unlikely to take the same. */
const OURS = 0x616f73;

export const ADVISORY_LOCKS = {
  /** Making the tables. */
  schema: [OURS, 1],
  /** Making keys and certificates of the authority. */
  authority: [OURS, 2],
} as const;

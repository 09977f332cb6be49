/**
 * When an update whose downloads are done may go on (spec/product.md CM-32, spec/beyond.md P-20). Pure. Off by default:
 * without rules and locks everything goes on at once.
 */
import * as z from 'zod';
import { AosError, asAosError, parseDuration } from '../../core/index.ts';
import type { Desired } from './desired-model.ts';
import type { UpdateFacts } from './plan-update.ts';

/** `sota`: services and configuration; `fota`: components. */
export type UpdateKind = 'sota' | 'fota';

const MINUTES_PER_DAY = 24 * 60;
const DAYS = 7;

/** `HH:MM` or `HH:MM:SS`, read into minutes since midnight; 24:00 is the end of the day. */
const TimeOfDay = z.string().transform((value, context) => {
  const match = /^(\d{2}):(\d{2})(?::\d{2})?$/.exec(value);
  const minutes = match ? Number(match[1]) * 60 + Number(match[2]) : Number.NaN;
  if (match && Number(match[2]) < 60 && minutes <= MINUTES_PER_DAY) return minutes;
  context.addIssue({ code: 'custom', message: 'expected a time of day such as 03:30' });
  return z.NEVER;
});

const Slot = z
  .object({ start: TimeOfDay, finish: TimeOfDay })
  .refine(({ start, finish }) => start < finish, 'expected a start before the finish');

const Ttl = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseDuration(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: asAosError(error).message });
    return z.NEVER;
  }
});

const Timetable = z.array(
  z.object({
    /** 1 is Monday, 7 is Sunday. */
    dayOfWeek: z.int().min(1, 'expected 1 (Monday) to 7 (Sunday)').max(DAYS, 'expected 1 (Monday) to 7 (Sunday)'),
    timeSlots: z.array(Slot).min(1, 'expected at least one slot'),
  }),
);

export const ReleaseRule = z
  .object({
    /** `force`: at once; `trigger`: when somebody on the unit says so; `timetable`: in its slots, or when somebody says so. */
    type: z.enum(['force', 'trigger', 'timetable'], 'expected force, trigger or timetable').default('force'),
    /** An update that is not released for so long is given up; 0: never. */
    ttl: Ttl.default(0),
    timetable: Timetable.default([]),
  })
  .refine(({ type, timetable }) => type !== 'timetable' || timetable.length > 0, 'expected a timetable with slots')
  .transform(({ ttl, ...rest }) => ({ ...rest, ttlMs: ttl }));
export type ReleaseRule = z.output<typeof ReleaseRule>;

export type ReleaseRules = Readonly<Record<UpdateKind, ReleaseRule>>;

/** Somebody on the unit who does not want to be disturbed. */
export interface UpdateLock {
  readonly owner: string;
  readonly reason: string;
  /** By the wall clock, milliseconds since 1970. */
  readonly expiresAtMs: number;
}

export interface ReleaseFacts {
  readonly kinds: readonly UpdateKind[];
  readonly rules: ReleaseRules;
  readonly locks: readonly UpdateLock[];
  /** Kinds that somebody has released since the downloads were done. */
  readonly released: ReadonlySet<UpdateKind>;
  /** As the wall clock says; slots are in its local time. */
  readonly now: Date;
}

export type Release =
  | { readonly open: true; readonly because: string }
  /** Look again at the latest after `againInMs`; absent: only a release or a lock's end changes it. */
  | { readonly open: false; readonly because: string; readonly againInMs?: number };

/** Locks hold whatever the rules say; each kind of the update needs its own permission. */
export function mayGoOn({ kinds, rules, locks, released, now }: ReleaseFacts): Release {
  const valid = locks.filter(({ expiresAtMs }) => expiresAtMs > now.getTime());
  const lock = valid.toSorted((a, b) => b.expiresAtMs - a.expiresAtMs)[0];
  if (lock) {
    const because = `${lock.owner} holds a lock until ${new Date(lock.expiresAtMs).toISOString()}: ${lock.reason}`;
    return { open: false, because, againInMs: lock.expiresAtMs - now.getTime() };
  }
  const reasons: string[] = [];
  for (const kind of kinds) {
    const rule = rules[kind];
    if (rule.type === 'force') continue;
    if (released.has(kind)) {
      reasons.push(`${kind} was released`);
      continue;
    }
    if (rule.type === 'trigger') return { open: false, because: `${kind} waits for its release (aosctl update start)` };
    const untilMs = untilSlot(rule.timetable, now);
    if (untilMs > 0) {
      const at = new Date(now.getTime() + untilMs).toISOString();
      return { open: false, because: `${kind} waits for its next slot at ${at}`, againInMs: untilMs };
    }
    reasons.push(`${kind} is in a slot of its timetable`);
  }
  return { open: true, because: reasons.join(', ') || 'nothing holds it' };
}

/** Milliseconds until the next slot begins; 0 inside of one. */
export function untilSlot(timetable: ReleaseRule['timetable'], now: Date): number {
  const minute = now.getHours() * 60 + now.getMinutes();
  const intoMinuteMs = now.getSeconds() * 1000 + now.getMilliseconds();
  let best = Number.POSITIVE_INFINITY;
  for (const { dayOfWeek, timeSlots } of timetable) {
    // Sunday is 0 for JavaScript and 7 for us.
    const days = (dayOfWeek - (now.getDay() || DAYS) + DAYS) % DAYS;
    for (const { start, finish } of timeSlots) {
      if (days === 0 && start <= minute && minute < finish) return 0;
      const ahead = days * MINUTES_PER_DAY + start - minute;
      best = Math.min(best, ahead > 0 ? ahead : ahead + DAYS * MINUTES_PER_DAY);
    }
  }
  return best * 60_000 - intoMinuteMs;
}

/** What the update touches: components that are to be changed are `fota`, everything else is `sota`. */
export function kindsOf(desired: Desired, { items, instances }: UpdateFacts): UpdateKind[] {
  const isThere = (itemId: string, version: string) =>
    items.some((row) => row.itemId === itemId && row.version === version && row.state === 'installed');
  const isNew = (type: 'service' | 'component') =>
    desired.items.some(({ item, version }) => item.type === type && !isThere(item.id, version));
  const wanted = new Set(desired.items.map(({ item }) => item.id));
  const isDropped = (type: 'service' | 'component') =>
    items.some((row) => row.type === type && row.state === 'installed' && !wanted.has(row.itemId));
  const runsOther = instances.some(
    ({ ident, version }) =>
      ident.type === 'component' &&
      desired.items.some(({ item, version: other }) => item.id === ident.itemId && other !== version),
  );
  const isFota = isNew('component') || isDropped('component') || runsOther;
  const isSota = !isFota || isNew('service') || isDropped('service') || desired.unitConfig !== undefined;
  return [...(isSota ? (['sota'] as const) : []), ...(isFota ? (['fota'] as const) : [])];
}

/** Longest time that a lock may be asked for. */
const MAX_LOCK_MS = DAYS * MINUTES_PER_DAY * 60_000;

export const LockRequest = z.object({
  owner: z.string().min(1, 'expected a name').max(64, 'expected at most 64 characters'),
  reason: z.string().min(1, 'expected a reason').max(256, 'expected at most 256 characters'),
  duration: Ttl.refine((value) => value > 0 && value <= MAX_LOCK_MS, 'expected a duration of at most 7 days'),
});
export type LockRequest = z.output<typeof LockRequest>;

/** The error of an update that nobody released in time. */
export function expired(because: string): AosError {
  return new AosError('timeout', `the update was not released in time: ${because}`);
}

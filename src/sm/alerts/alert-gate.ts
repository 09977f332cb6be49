/**
 * The way of all alerts of a node to the CM: bounded in time, with the newest kept for people on the node itself.
 *
 * A program that complains ten thousand times a second must neither drown what else is to be told nor keep the unit busy
 * with telling. Each class of alerts has its own budget; what is beyond it is counted, and the count becomes an alert.
 */
import { timestampMessage } from '../../api/index.ts';
import type { Clock } from '../../core/index.ts';
import type { OutgoingMessage } from '../client/index.ts';

type AlertMessage = Extract<OutgoingMessage, { case: 'alert' }>;
type AlertTag = NonNullable<NonNullable<AlertMessage['value']['AlertItem']>['case']>;

/** Alerts of a class in one period. */
interface Budget {
  readonly name: string;
  readonly perPeriod: number;
}

const PERIOD_MS = 10_000;
/** The newest so many are kept for `aosctl alerts`. */
const KEPT = 256;

const JOURNAL: Budget = { name: 'alerts from the journal', perPeriod: 64 };
const OTHERS: Budget = { name: 'alerts of quotas, resources and instances', perPeriod: 512 };

const BUDGETS: Readonly<Partial<Record<AlertTag, Budget>>> = { systemAlert: JOURNAL, coreAlert: JOURNAL };

/** An alert as `aosctl alerts` shows it. */
export interface KeptAlert {
  /** Counts from 1 with each start of the daemon. */
  readonly seq: number;
  /** ISO 8601, as the wall clock was believed then. */
  readonly at: string;
  readonly kind: string;
  /** `item/subject/index` or the component; absent: the node. */
  readonly about?: string;
  readonly message: string;
}

interface Window {
  readonly sinceMs: number;
  sent: number;
  suppressed: number;
  timer?: NodeJS.Timeout;
}

export interface AlertGateOptions {
  readonly send: (message: OutgoingMessage) => void;
  readonly clock: Clock;
}

export class AlertGate {
  readonly #options: AlertGateOptions;
  readonly #windows = new Map<Budget, Window>();
  readonly #kept: KeptAlert[] = [];
  #seq = 0;
  #sent = 0;
  #suppressed = 0;

  constructor(options: AlertGateOptions) {
    this.#options = options;
  }

  /** Since the start of the daemon. */
  get counts(): { readonly sent: number; readonly suppressed: number } {
    return { sent: this.#sent, suppressed: this.#suppressed };
  }

  /** The newest alerts after one of them, oldest first. */
  newest(after = 0): readonly KeptAlert[] {
    return this.#kept.filter(({ seq }) => seq > after);
  }

  send(message: OutgoingMessage): void {
    if (message.case !== 'alert') {
      this.#options.send(message);
      return;
    }
    const tag = message.value.AlertItem?.case;
    const budget = (tag && BUDGETS[tag]) ?? OTHERS;
    const window = this.#window(budget);
    if (window.sent < budget.perPeriod) {
      window.sent += 1;
      this.#pass(message);
      return;
    }
    window.suppressed += 1;
    this.#suppressed += 1;
    const restMs = PERIOD_MS - (this.#options.clock.monotonicMs() - window.sinceMs);
    window.timer ??= setTimeout(() => this.#close(budget), Math.max(0, restMs));
  }

  /** Tells what was left out. */
  stop(): void {
    for (const budget of [...this.#windows.keys()]) this.#close(budget);
  }

  #window(budget: Budget): Window {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#windows.get(budget);
    if (known && nowMs - known.sinceMs < PERIOD_MS) return known;
    if (known) this.#close(budget);
    const window = { sinceMs: nowMs, sent: 0, suppressed: 0 };
    this.#windows.set(budget, window);
    return window;
  }

  #close(budget: Budget): void {
    const window = this.#windows.get(budget);
    if (!window) return;
    clearTimeout(window.timer);
    this.#windows.delete(budget);
    if (window.suppressed === 0) return;
    const message = `${window.suppressed} more ${budget.name} within ${PERIOD_MS / 1000} s were left out`;
    this.#pass({
      case: 'alert',
      value: {
        timestamp: timestampMessage(this.#options.clock.now()),
        AlertItem: { case: 'systemAlert', value: { message } },
      },
    });
  }

  #pass(message: AlertMessage): void {
    this.#sent += 1;
    this.#seq += 1;
    this.#kept.push(keptAlert(this.#seq, message, this.#options.clock));
    if (this.#kept.length > KEPT) this.#kept.shift();
    this.#options.send(message);
  }
}

/** The alert in words. */
function keptAlert(seq: number, { value }: AlertMessage, clock: Clock): KeptAlert {
  const { timestamp, AlertItem: item } = value;
  const at = timestamp ? new Date(Number(timestamp.seconds ?? 0) * 1000 + (timestamp.nanos ?? 0) / 1e6) : clock.now();
  const head = { seq, at: at.toISOString(), kind: item?.case ?? 'unknown' };
  switch (item?.case) {
    case 'systemAlert':
      return { ...head, message: item.value.message ?? '' };
    case 'coreAlert':
      return { ...head, about: item.value.coreComponent ?? '', message: item.value.message ?? '' };
    case 'systemQuotaAlert':
      return { ...head, message: quotaText(item.value) };
    case 'instanceQuotaAlert':
      return { ...head, about: nameOf(item.value.instance), message: quotaText(item.value) };
    case 'instanceAlert':
    case 'resourceAllocateAlert':
      return { ...head, about: nameOf(item.value.instance), message: item.value.message ?? '' };
    default:
      return { ...head, message: '' };
  }
}

interface WireIdent {
  readonly itemId?: string;
  readonly subjectId?: string;
  readonly instance?: bigint;
}

const nameOf = (ident: WireIdent | undefined) =>
  `${ident?.itemId ?? ''}/${ident?.subjectId ?? ''}/${ident?.instance ?? 0}`;

function quotaText(quota: { readonly parameter?: string; readonly value?: bigint; readonly status?: string }): string {
  return `${quota.parameter ?? ''} ${quota.status ?? ''}: ${quota.value ?? 0}`;
}

/** Alerts that wait for the cloud, in bounded memory (spec/cm.md 8.2, spec/decisions.md C-28). Pure. */
import type { Alert } from '../../protocol/index.ts';

export interface AlertLimits {
  readonly cached: number;
  readonly perMessage: number;
  /** Bytes of the alerts of one message as JSON. */
  readonly messageBytes: number;
}

/** The lower the class, the sooner an alert gives way. */
const CLASSES: Readonly<Record<Alert['tag'], number>> = {
  downloadProgressAlert: 0,
  systemAlert: 1,
  coreAlert: 1,
  systemQuotaAlert: 2,
  instanceQuotaAlert: 2,
  resourceAllocateAlert: 3,
  updateItemInstanceAlert: 3,
};

export class AlertCache {
  readonly #limits: AlertLimits;
  #alerts: Alert[] = [];
  /** What waits, without its time: ten thousand alerts a second are compared by a look-up each. */
  readonly #waiting = new Set<string>();
  /** How many of each class wait. */
  readonly #perClass = [0, 0, 0, 0];
  #duplicates = 0;
  #dropped = 0;

  constructor(limits: AlertLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#alerts.length;
  }

  get isEmpty(): boolean {
    return this.#alerts.length === 0 && this.#dropped === 0;
  }

  /** An alert that is equal to a waiting one, apart from its time, is counted only. */
  add(alert: Alert): void {
    const key = keyOf(alert);
    if (this.#waiting.has(key)) {
      this.#duplicates += 1;
      return;
    }
    this.#waiting.add(key);
    this.#alerts.push(alert);
    this.#perClass[CLASSES[alert.tag]]! += 1;
    if (this.#alerts.length <= this.#limits.cached) return;
    const lowest = this.#perClass.findIndex((count) => count > 0);
    const victim = this.#alerts.findIndex(({ tag }) => CLASSES[tag] === lowest);
    this.#perClass[lowest]! -= 1;
    for (const gone of this.#alerts.splice(victim, 1)) this.#waiting.delete(keyOf(gone));
    this.#dropped += 1;
  }

  /** Everything in order, in parts that fit a message, and what was left out; the cache is empty afterwards. */
  take(): { readonly parts: readonly (readonly Alert[])[]; readonly dropped: number; readonly duplicates: number } {
    const { perMessage, messageBytes } = this.#limits;
    const parts: Alert[][] = [];
    let bytes = 0;
    for (const alert of this.#alerts) {
      const size = Buffer.byteLength(JSON.stringify(alert));
      const part = parts.at(-1);
      if (part && part.length < perMessage && bytes + size <= messageBytes) {
        part.push(alert);
        bytes += size;
      } else {
        parts.push([alert]);
        bytes = size;
      }
    }
    const result = { parts, dropped: this.#dropped, duplicates: this.#duplicates };
    this.#alerts = [];
    this.#waiting.clear();
    this.#perClass.fill(0);
    this.#dropped = 0;
    this.#duplicates = 0;
    return result;
  }
}

/** Equal for alerts that differ in nothing but their time; their members are written in one order everywhere. */
function keyOf(alert: Alert): string {
  return JSON.stringify({ ...alert, timestamp: '' });
}

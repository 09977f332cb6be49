/** Why blobs do not come, for people who ask why an update does not go on (spec/beyond.md P-03). */
import type { EventSink } from '../events/index.ts';
import type { DownloadReport } from './download-report.ts';

/** Blobs whose last trouble is remembered. */
const REMEMBERED = 256;

export class DownloadDiary {
  readonly #events: EventSink;
  /** The last trouble of each blob: the same again is no news, however often it is tried. */
  readonly #reasons = new Map<string, string>();

  constructor(events: EventSink) {
    this.#events = events;
  }

  take({ digest, state, reason = '' }: DownloadReport): void {
    if (state === 'finished') this.#reasons.delete(digest);
    if (state !== 'interrupted' || this.#reasons.get(digest) === reason) return;
    this.#reasons.delete(digest);
    this.#reasons.set(digest, reason);
    const [oldest] = this.#reasons.keys();
    if (this.#reasons.size > REMEMBERED) this.#reasons.delete(oldest!);
    const what = `blob ${digest} does not come, and is tried again`;
    this.#events.record({ about: { kind: 'update', id: 'update' }, what, because: reason });
  }
}

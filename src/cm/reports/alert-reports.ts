/** Alerts on their way to the cloud (spec/cm.md 8.2). */
import { type Clock, type Logger, systemClock } from '../../core/index.ts';
import { type Alert, formatTime } from '../../protocol/index.ts';
import type { CloudLinkApi } from '../link/index.ts';
import type { Subscribe } from '../model.ts';
import type { NodeAlert } from '../nodes/index.ts';
import { REPORTS } from '../numbers.ts';
import { AlertCache } from './alert-cache.ts';
import { BatchTimer } from './batch-timer.ts';
import { alertText, writeAlert } from './write-alert.ts';

const MAX_MESSAGE_BYTES = 32 * 1024;

export interface AlertReportsOptions {
  readonly link: Pick<CloudLinkApi, 'connected' | 'send' | 'onConnection'>;
  readonly onAlert: Subscribe<NodeAlert>;
  readonly mainNodeId: () => string;
  /** `alerts.sendPeriod`. */
  readonly sendPeriodMs: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class AlertReports {
  readonly #options: AlertReportsOptions;
  readonly #clock: Clock;
  readonly #timer: BatchTimer;
  readonly #cache = new AlertCache({
    cached: REPORTS.alertsInCache,
    perMessage: REPORTS.alertsPerMessage,
    messageBytes: MAX_MESSAGE_BYTES,
  });
  #ends: (() => void)[] = [];
  #dropped = 0;
  #duplicates = 0;

  constructor(options: AlertReportsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timer = new BatchTimer(options.sendPeriodMs, () => this.#send());
  }

  /** For the metrics: what waits now, and what was left out since the start. */
  get counts(): { readonly waiting: number; readonly dropped: number; readonly duplicates: number } {
    return { waiting: this.#cache.size, dropped: this.#dropped, duplicates: this.#duplicates };
  }

  start(): void {
    const { link, onAlert } = this.#options;
    this.#ends = [
      onAlert((alert) => this.add(writeAlert(alert, this.#clock.now()))),
      link.onConnection((connected) => {
        if (connected && !this.#cache.isEmpty) this.#timer.arm();
      }),
    ];
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end();
    this.#timer.stop();
  }

  /** Takes an alert that was made on the main node itself, such as the progress of a download. */
  add(alert: Alert): void {
    this.#cache.add(alert);
    this.#timer.arm();
  }

  #send(): void {
    const { link, logger, mainNodeId } = this.#options;
    if (!link.connected || this.#cache.isEmpty) return;
    const { parts, dropped, duplicates } = this.#cache.take();
    this.#dropped += dropped;
    this.#duplicates += duplicates;
    for (const items of parts) link.send({ messageType: 'alerts', items });
    if (duplicates > 0) logger.info({ duplicates }, 'alerts came again and were sent once');
    if (dropped === 0) return;
    logger.warn({ dropped }, 'alerts were dropped: too many waited for the cloud');
    const message = alertText(
      `${dropped} alerts were dropped: more than ${REPORTS.alertsInCache} waited for the cloud`,
    );
    const node = { codename: mainNodeId() };
    const timestamp = formatTime(this.#clock.now());
    link.send({
      messageType: 'alerts',
      items: [{ timestamp, tag: 'coreAlert', node, coreComponent: 'CM', message }],
    });
  }
}

/** How downloads go, for the cloud and for people (spec/cm.md 3.7). */
import { type Clock, type Digest, type ErrorInfo, type Logger, toErrorInfo } from '../../core/index.ts';
import type { DownloadProgress } from '../../storage/index.ts';
import { IMAGES } from '../numbers.ts';

/** How a download goes, for the cloud (spec/cm.md 3.7). */
export interface DownloadReport {
  readonly digest: Digest;
  readonly url: string;
  readonly downloadedBytes: number;
  readonly totalBytes: number;
  readonly state: 'started' | 'interrupted' | 'finished';
  readonly reason?: string;
  readonly error?: ErrorInfo;
}

export interface ReporterOptions {
  readonly digest: Digest;
  /** As the cloud tells it. */
  readonly sizeBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onProgress: (report: DownloadReport) => void;
}

/** Progress now and then, ends and interruptions always; nothing for files of this host. */
export function downloadReporter(options: ReporterOptions): (progress: DownloadProgress) => void {
  const { digest, sizeBytes, clock, logger, onProgress } = options;
  let lastMs: number | undefined;
  /** What there was before the present request: the size that is told counts the rest only. */
  let resumedBytes = 0;
  return ({ kind, url, downloadedBytes, resumedFromBytes, totalBytes, error }) => {
    if (url.startsWith('file:')) return;
    if (kind === 'started' && resumedFromBytes > 0) {
      logger.info({ digest, resumedFromBytes, sizeBytes }, 'a download goes on where it stopped');
    }
    const nowMs = clock.monotonicMs();
    const running = kind === 'started' || kind === 'progress';
    if (running) resumedBytes = resumedFromBytes;
    if (running && lastMs !== undefined && nowMs - lastMs < IMAGES.progressAlertMs) return;
    if (running) lastMs = nowMs;
    onProgress({
      digest,
      url,
      downloadedBytes,
      totalBytes: Math.max(0, (totalBytes ?? sizeBytes) - resumedBytes),
      state: running ? 'started' : kind,
      ...(error && { reason: error.message, error: toErrorInfo(error) }),
    });
  };
}

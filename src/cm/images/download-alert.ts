/** Progress of downloads as the cloud is told of it (spec/cloud-protocol.md 8.8). Pure. */
import { type Alert, formatTime } from '../../protocol/index.ts';
import type { DownloadReport } from './blob-fetcher.ts';

export function downloadAlert(report: DownloadReport, now: Date): Alert {
  const { digest, url, downloadedBytes, totalBytes, state, reason, error } = report;
  return {
    timestamp: formatTime(now),
    tag: 'downloadProgressAlert',
    digest,
    url,
    downloadedBytes,
    totalBytes,
    state,
    ...(reason !== undefined && { reason }),
    ...(error && { errorInfo: error }),
  };
}

/** Progress of downloads as the cloud is told of it (spec/cloud-protocol.md 8.8). Pure. */
import { shortenMessage } from '../../core/index.ts';
import { type Alert, formatTime } from '../../protocol/index.ts';
import { REPORTS } from '../numbers.ts';
import type { DownloadReport } from './download-report.ts';

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
    ...(reason !== undefined && { reason: shortenMessage(reason, REPORTS.maxAlertTextBytes) }),
    ...(error && { errorInfo: error }),
  };
}

/** What the unit tells the cloud unasked, and logs on request. */
export { AlertReports, type AlertReportsOptions } from './alert-reports.ts';
export { LogRequests, type LogRequestsOptions } from './log-requests.ts';
export { MonitoringReports, type MonitoringReportsOptions } from './monitoring-reports.ts';
export { logUploader } from './upload-log.ts';
export { alertText, resourceAlert, stateAlert } from './write-alert.ts';

/** Metrics for Prometheus. */
export * from './format-metrics.ts';
export * from './metrics-server.ts';
export * from './process-metrics.ts';

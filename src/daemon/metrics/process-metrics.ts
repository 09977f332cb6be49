/** What a daemon costs: metrics of its own process, under the names that Prometheus clients agree on. */
import { readdirSync, readFileSync } from 'node:fs';
import { type Metric, metric } from './format-metrics.ts';

const PAGE_BYTES = 4096;

function readProc(file: string): string | undefined {
  try {
    return readFileSync(`/proc/self/${file}`, 'utf8');
  } catch {
    // Some hosts hide it; the metric is left out then.
    return undefined;
  }
}

function openFiles(): number | undefined {
  try {
    // One of them is the directory that is being read.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return undefined;
  }
}

/** Processor time, memory, open files and written bytes as they are now; what the host hides is left out. */
export function processMetrics(program: string, version: string): Metric[] {
  const { user, system } = process.cpuUsage();
  const residentPages = readProc('statm')?.split(' ')[1];
  const written = /^write_bytes: (\d+)$/m.exec(readProc('io') ?? '')?.[1];
  return [
    {
      ...{ name: 'aos_build_info', help: 'Program and version of this daemon.', type: 'gauge' },
      samples: [{ labels: { program, version, node: process.version }, value: 1 }],
    },
    metric('counter', 'process_cpu_seconds_total', 'Processor time of this daemon.', (user + system) / 1e6),
    metric(
      'gauge',
      'process_resident_memory_bytes',
      'Memory of this daemon.',
      residentPages === undefined ? undefined : Number(residentPages) * PAGE_BYTES,
    ),
    metric('gauge', 'process_open_fds', 'Open files of this daemon.', openFiles()),
    metric(
      'gauge',
      'process_start_time_seconds',
      'Start of this daemon, in seconds since 1970.',
      performance.timeOrigin / 1000,
    ),
    metric(
      'counter',
      'aos_process_written_bytes_total',
      'Bytes that this daemon has made the disks write.',
      written === undefined ? undefined : Number(written),
    ),
  ];
}

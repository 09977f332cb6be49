/** Averages over a window, as twins compute them (spec/sm.md 8.4). Pure. */

/** Usage of a node or of an instance at one moment. CPU in DMIPS, the others in bytes. */
export interface Sample {
  readonly cpu: number;
  readonly ram: number;
  readonly download: number;
  readonly upload: number;
  readonly partitions: Readonly<Record<string, number>>;
}

/** Running sums; `window` samples make a whole. */
export interface Averages {
  readonly window: number;
  readonly sums: Sample;
}

function mapSample(sample: Sample, map: (value: number, name: string) => number): Sample {
  const partitions = Object.entries(sample.partitions).map(([name, value]) => [name, map(value, `partition ${name}`)]);
  return {
    cpu: map(sample.cpu, 'cpu'),
    ram: map(sample.ram, 'ram'),
    download: map(sample.download, 'download'),
    upload: map(sample.upload, 'upload'),
    partitions: Object.fromEntries(partitions) as Record<string, number>,
  };
}

function amountOf(sample: Sample, name: string): number | undefined {
  if (name.startsWith('partition ')) return sample.partitions[name.slice('partition '.length)];
  return sample[name as 'cpu' | 'ram' | 'download' | 'upload'];
}

/** How many samples make the window: at least 1. */
export function windowOf(averageWindowMs: number, pollPeriodMs: number): number {
  return Math.max(1, Math.floor(averageWindowMs / pollPeriodMs));
}

/** Adds a sample. The first one fills the window; a partition that comes later begins with its own value. */
export function addSample(averages: Averages | undefined, sample: Sample, window: number): Averages {
  const sums = averages?.sums;
  const next = mapSample(sample, (value, name) => {
    const sum = sums ? (amountOf(sums, name) ?? value) : value * window;
    return sum - sum / window + value;
  });
  return { window, sums: next };
}

/** Whole numbers, rounded half up. */
export function averageOf({ sums, window }: Averages): Sample {
  return mapSample(sums, (value) => Math.floor(value / window + 0.5));
}

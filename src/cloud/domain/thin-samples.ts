/** As many samples as a chart can show. Pure. */
import type { Sample } from '../store/samples.ts';

/**
 * At most `points` samples: those of equal slices of the time, each the mean of its slice with the highest of what
 * only rises. Fewer samples than points stay as they are.
 */
export function thin(samples: readonly Sample[], fromMs: number, tillMs: number, points: number): Sample[] {
  if (samples.length <= points) return [...samples];
  const sliceMs = Math.max(1, (tillMs - fromMs) / points);
  const slices = new Map<number, Sample[]>();
  for (const sample of samples) {
    const index = Math.min(points - 1, Math.floor((sample.at - fromMs) / sliceMs));
    const slice = slices.get(index);
    if (slice) slice.push(sample);
    else slices.set(index, [sample]);
  }
  return [...slices.values()].map(merge);
}

function merge(slice: readonly Sample[]): Sample {
  const mean = (value: (sample: Sample) => number) =>
    slice.reduce((sum, sample) => sum + value(sample), 0) / slice.length;
  const last = slice.at(-1)!;
  return {
    at: Math.round(mean(({ at }) => at)),
    cpu: mean(({ cpu }) => cpu),
    ram: Math.round(mean(({ ram }) => ram)),
    download: last.download,
    upload: last.upload,
    partitions: last.partitions,
  };
}

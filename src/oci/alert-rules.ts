/** Alert rules of an item (spec/cloud-protocol.md 5.5, spec/decisions.md C-45). Percentages are of the node's totals. */
import * as z from 'zod';
import { DurationMs, Uint } from './scalars.ts';

const percentShape = {
  minTimeout: DurationMs.default(0),
  minThreshold: z.number().default(0),
  maxThreshold: z.number().default(0),
};

/** The schema's key is that of the document; the value says its unit. */
function withUnit<T extends { minTimeout: number }>({ minTimeout, ...rest }: T) {
  return { minTimeoutMs: minTimeout, ...rest };
}

export const PercentRule = z.object(percentShape).transform(withUnit);
export type PercentRule = z.output<typeof PercentRule>;

/** Thresholds in bytes of the current day. */
export const PointRule = z
  .object({ minTimeout: DurationMs.default(0), minThreshold: Uint.default(0), maxThreshold: Uint.default(0) })
  .transform(withUnit);
export type PointRule = z.output<typeof PointRule>;

export const PartitionRule = z.object({ name: z.string(), ...percentShape }).transform(withUnit);
export type PartitionRule = z.output<typeof PartitionRule>;

/** The partition that the older key `storage` means. */
const STORAGE_PARTITION = 'storages';

export const AlertRules = z
  .object({
    ram: PercentRule.optional(),
    cpu: PercentRule.optional(),
    partitions: z.array(PartitionRule).default([]),
    storage: PercentRule.optional(),
    download: PointRule.optional(),
    upload: PointRule.optional(),
  })
  .transform(({ storage, ...rules }) => {
    const said = rules.partitions.some(({ name }) => name === STORAGE_PARTITION);
    if (!storage || said) return rules;
    return { ...rules, partitions: [...rules.partitions, { name: STORAGE_PARTITION, ...storage }] };
  });
export type AlertRules = z.output<typeof AlertRules>;

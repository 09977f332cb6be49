/** Rates out of two looks at the counters of a node. Pure. */
import type { InstanceUsageReport, UsageReport } from '../daemon/index.ts';

export interface InstanceRate extends InstanceUsageReport {
  /** Of all processors of the node. */
  readonly cpuPercent: number;
  readonly dmips: number;
}

export interface UsageRates {
  readonly node: { readonly cpuPercent: number; readonly dmips: number; readonly ramBytes: number };
  /** The busiest first. */
  readonly instances: readonly InstanceRate[];
}

/** An instance that was not there before, or whose counter went back, begins with nothing. */
export function usageRates(before: UsageReport, now: UsageReport): UsageRates {
  const { node } = now;
  const jiffies = node.cpuTotal - before.node.cpuTotal;
  const busy = jiffies > 0 ? 1 - (node.cpuIdle - before.node.cpuIdle) / jiffies : 0;
  const elapsedUs = (now.monotonicMs - before.monotonicMs) * 1000 * Math.max(1, node.threads);
  const known = new Map(before.instances.map(({ id, cpuUs }) => [id, cpuUs]));
  const instances = now.instances.map((instance): InstanceRate => {
    const usedUs = instance.cpuUs - (known.get(instance.id) ?? instance.cpuUs);
    const used = elapsedUs > 0 ? clamp(usedUs / elapsedUs) : 0;
    return { ...instance, cpuPercent: used * 100, dmips: used * node.maxDmips };
  });
  const used = clamp(busy);
  return {
    node: { cpuPercent: used * 100, dmips: used * node.maxDmips, ramBytes: node.ramBytes },
    instances: instances.sort((a, b) => b.cpuPercent - a.cpuPercent || b.ramBytes - a.ramBytes),
  };
}

const clamp = (part: number): number => Math.min(1, Math.max(0, part));

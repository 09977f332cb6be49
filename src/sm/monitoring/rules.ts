/** Alert rules of the node and of instances, in absolute numbers of this node (spec/sm.md 8.5). Pure. */
import type { AlertRules } from '../../oci/index.ts';
import type { MonitoringParameters, NodeInfo } from '../model.ts';
import { percentOf, type Threshold } from './alert-rule.ts';

/** By parameter: `cpu`, `ram`, `download`, `upload`, or `partition <name>`. */
export type Thresholds = ReadonlyMap<string, Threshold>;

type Totals = Pick<NodeInfo, 'maxDmips' | 'totalRam' | 'partitions'>;

interface Rule {
  readonly minTimeoutMs: number;
  readonly minThreshold: number;
  readonly maxThreshold: number;
}

interface Rules {
  readonly cpu?: Rule | undefined;
  readonly ram?: Rule | undefined;
  readonly download?: Rule | undefined;
  readonly upload?: Rule | undefined;
  readonly partitions: readonly (Rule & { readonly name: string })[];
}

export function nodeThresholds(rules: AlertRules | undefined, node: Totals): Thresholds {
  return rules ? thresholds(rules, node) : new Map();
}

/** Percentages of an instance are of the node's totals too. */
export function instanceThresholds(parameters: MonitoringParameters | undefined, node: Totals): Thresholds {
  if (!parameters) return new Map();
  const rule = (of: MonitoringParameters['cpu']) => of && { ...of, minTimeoutMs: of.durationMs };
  return thresholds(
    {
      cpu: rule(parameters.cpu),
      ram: rule(parameters.ram),
      download: rule(parameters.download),
      upload: rule(parameters.upload),
      partitions: parameters.partitions.map((entry) => ({ ...entry, minTimeoutMs: entry.durationMs })),
    },
    node,
  );
}

function thresholds(rules: Rules, node: Totals): Thresholds {
  const found = new Map<string, Threshold>();
  const put = (name: string, rule: Rule | undefined, total?: number) => {
    if (!rule) return;
    const absolute = (value: number) => (total === undefined ? value : percentOf(total, value));
    const { minTimeoutMs, minThreshold, maxThreshold } = rule;
    const max = absolute(maxThreshold);
    // Thresholds in the wrong order would make an alert rise and fall at the same value.
    found.set(name, { minTimeoutMs, min: Math.min(absolute(minThreshold), max), max });
  };
  put('cpu', rules.cpu, node.maxDmips);
  put('ram', rules.ram, node.totalRam);
  put('download', rules.download);
  put('upload', rules.upload);
  for (const rule of rules.partitions) {
    const partition = node.partitions.find(({ name }) => name === rule.name);
    // A partition that the node does not have cannot be full.
    if (partition) put(`partition ${rule.name}`, rule, partition.totalSize);
  }
  return found;
}

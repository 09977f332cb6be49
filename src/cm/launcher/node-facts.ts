/** A node as placement looks at it: its info, its part of the unit configuration, its measured use. Pure. */
import { instanceKey } from '../../core/index.ts';
import type { NodeInfo, RuntimeInfo } from '../model.ts';
import type { NodeMonitoring } from '../nodes/index.ts';
import type { NodeConfig } from '../unit-config/index.ts';
import type { Amounts, NodeFacts, RuntimeFacts } from './model.ts';

export interface NodeView {
  readonly node: NodeInfo;
  /** Connected, and its full list of instances has arrived since. */
  readonly isReady: boolean;
  readonly config: NodeConfig;
  readonly monitoring: NodeMonitoring | undefined;
}

export function nodeFacts({ node, isReady, config, monitoring }: NodeView): NodeFacts {
  return {
    nodeId: node.nodeId,
    nodeType: node.nodeType,
    state: node.state,
    connected: isReady,
    maxDmips: node.maxDmips,
    totalRam: node.totalRam,
    priority: config.priority,
    labels: config.labels,
    ratios: config.resourceRatios ?? {},
    cpuRule: config.alertRules?.cpu,
    ramRule: config.alertRules?.ram,
    usage: monitoring ? { cpu: monitoring.node.cpu, ram: monitoring.node.ram } : { cpu: 0, ram: 0 },
    instancesUsage: (monitoring?.instances ?? []).reduce<Amounts>(
      (sum, { usage }) => ({ cpu: sum.cpu + usage.cpu, ram: sum.ram + usage.ram }),
      { cpu: 0, ram: 0 },
    ),
    runtimes: node.runtimes.map(runtimeFacts),
    resources: node.resources,
  };
}

function runtimeFacts(runtime: RuntimeInfo): RuntimeFacts {
  return {
    runtimeId: runtime.runtimeId,
    type: runtime.type,
    platform: {
      architecture: runtime.arch.architecture,
      variant: runtime.arch.variant,
      os: runtime.os.os,
      osVersion: runtime.os.version,
      osFeatures: runtime.os.features,
    },
    // On the wire 0 means that the runtime has no pool of its own.
    allowedDmips: runtime.allowedDmips || undefined,
    allowedRam: runtime.allowedRam || undefined,
    maxInstances: runtime.maxInstances,
  };
}

/** What instances were measured to use, by ident and runtime. */
export function averagesOf(monitorings: Iterable<NodeMonitoring>): Map<string, Amounts> {
  const averages = new Map<string, Amounts>();
  for (const { instances } of monitorings) {
    for (const { ident, runtimeId, usage } of instances) {
      averages.set(averageKey(ident, runtimeId), { cpu: usage.cpu, ram: usage.ram });
    }
  }
  return averages;
}

export function averageKey(ident: Parameters<typeof instanceKey>[0], runtimeId: string): string {
  return `${instanceKey(ident)}${runtimeId}`;
}

/** Short ways to say nodes, items and instances in tests. */
import type { ManifestFacts, NodeFacts, RuntimeFacts, WantedInstance } from './model.ts';

export const AMD64 = { architecture: 'amd64', os: 'linux', osFeatures: [] } as const;

export function runtime(type: string, nodeId: string, more: Partial<RuntimeFacts> = {}): RuntimeFacts {
  return { runtimeId: `${type}@${nodeId}`, type, platform: AMD64, maxInstances: 0, ...more };
}

export function node(nodeId: string, more: Partial<NodeFacts> = {}): NodeFacts {
  return {
    nodeId,
    nodeType: 'generic',
    state: 'provisioned',
    connected: true,
    maxDmips: 1000,
    totalRam: 1024,
    priority: 0,
    labels: [],
    ratios: {},
    usage: { cpu: 0, ram: 0 },
    instancesUsage: { cpu: 0, ram: 0 },
    runtimes: [runtime('runc', nodeId)],
    resources: [],
    ...more,
  };
}

export function manifest(more: Partial<ManifestFacts> = {}): ManifestFacts {
  return {
    digest: 'sha256:m1',
    runtimes: ['crun', 'runc'],
    namesRuntimes: false,
    resources: [],
    staysOnNode: false,
    skipResourceLimits: false,
    quotas: {},
    requested: {},
    platform: { architecture: 'amd64', osFeatures: [] },
    ...more,
  };
}

export function wanted(
  itemId: string,
  instance: number,
  manifests: readonly Partial<ManifestFacts>[] = [{}],
  more: Partial<WantedInstance> = {},
): WantedInstance {
  return {
    ident: { itemId, subjectId: 'subject', instance, type: 'service', preinstalled: false },
    version: '1.0.0',
    priority: 0,
    labels: [],
    item: { manifests: manifests.map(manifest) },
    ...more,
  };
}

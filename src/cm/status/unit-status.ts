/** The unit's state in the words of the cloud (spec/cm.md 2.8, spec/cloud-protocol.md 8.4). Pure. */
import type { ErrorInfo, UnitConfigState } from '../../core/index.ts';
import type {
  Identity,
  NodeStatus,
  ReportedInstance,
  ReportedInstances,
  ReportedItem,
  RuntimeStatus,
  UnitConfigStatus,
  UnitStatus,
} from '../../protocol/index.ts';
import type { ArchInfo, InstanceStatus, ItemStatus, NodeInfo, OsInfo, RuntimeInfo } from '../model.ts';

export interface UnitConfigReport {
  readonly version: string;
  readonly state: UnitConfigState;
  readonly error?: ErrorInfo | undefined;
}

/** Everything that a full status tells. */
export interface UnitSnapshot {
  readonly unitConfig: UnitConfigReport;
  /** Outcome of the last update of the unit configuration that was not told in a full status yet. */
  readonly unitConfigOutcome?: UnitConfigReport | undefined;
  readonly nodes: readonly NodeInfo[];
  /** Why nodes did not become paused or resumed, by node id. */
  readonly nodeUpdateErrors: ReadonlyMap<string, ErrorInfo>;
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
  readonly subjects: readonly string[];
}

/** What changed since the last report; an absent section did not. */
export interface UnitChanges {
  readonly unitConfig?: UnitConfigReport | undefined;
  readonly nodes: readonly NodeInfo[];
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
  readonly subjects?: readonly string[] | undefined;
}

export function fullStatus(snapshot: UnitSnapshot): UnitStatus {
  const { unitConfig, unitConfigOutcome: outcome, nodes, nodeUpdateErrors, instances, subjects } = snapshot;
  const attempted = outcome && outcome.version !== unitConfig.version ? [outcome] : [];
  const items = snapshot.items.filter(({ state }) => state !== 'removed');
  return {
    messageType: 'unitStatus',
    isDeltaInfo: false,
    unitConfig: [unitConfig, ...attempted].map(unitConfigEntry),
    nodes: nodes.map((node) => nodeEntry(node, node.error ?? nodeUpdateErrors.get(node.nodeId))),
    items: itemEntries(items, instances),
    instances: instanceGroups(instances),
    subjects: subjects.map((codename) => ({ codename })),
  };
}

export function deltaStatus(changes: UnitChanges): UnitStatus {
  const { unitConfig, nodes, items, instances, subjects } = changes;
  const itemList = itemEntries(items, instances);
  return {
    messageType: 'unitStatus',
    isDeltaInfo: true,
    ...(unitConfig && { unitConfig: [unitConfigEntry(unitConfig)] }),
    ...(nodes.length > 0 && { nodes: nodes.map((node) => nodeEntry(node, node.error)) }),
    ...(itemList.length > 0 && { items: itemList }),
    ...(instances.length > 0 && { instances: instanceGroups(instances) }),
    ...(subjects && { subjects: subjects.map((codename) => ({ codename })) }),
  };
}

function unitConfigEntry({ version, state, error }: UnitConfigReport): UnitConfigStatus {
  return { ...(version !== '' && { version }), state, ...errorMember(error) };
}

function nodeEntry(node: NodeInfo, error: ErrorInfo | undefined): NodeStatus {
  return {
    identity: { codename: node.nodeId, title: node.title },
    nodeGroupSubject: { codename: node.nodeType },
    maxDmips: node.maxDmips,
    ...(node.physicalRam > 0 && { physicalRam: node.physicalRam }),
    totalRam: node.totalRam,
    osInfo: osEntry(node.os),
    ...(node.cpus.length > 0 && {
      cpus: node.cpus.map((cpu) => ({
        modelName: cpu.modelName,
        totalNumCores: cpu.numCores,
        totalNumThreads: cpu.numThreads,
        archInfo: archEntry(cpu.arch),
        ...(cpu.maxDmips > 0 && { maxDmips: cpu.maxDmips }),
      })),
    }),
    ...(Object.keys(node.attrs).length > 0 && { attrs: { ...node.attrs } }),
    ...(node.partitions.length > 0 && {
      partitions: node.partitions.map(({ name, path, types, totalSize }) => ({
        name,
        ...(path !== '' && { path }),
        types: [...types],
        totalSize,
      })),
    }),
    state: node.state,
    isConnected: node.isConnected,
    ...errorMember(error),
    ...(node.runtimes.length > 0 && { runtimes: node.runtimes.map(runtimeEntry) }),
    ...(node.resources.length > 0 && { resources: node.resources.map((resource) => ({ ...resource })) }),
  };
}

function runtimeEntry(runtime: RuntimeInfo): RuntimeStatus {
  return {
    identity: { codename: runtime.runtimeId },
    runtimeType: runtime.type,
    archInfo: archEntry(runtime.arch),
    osInfo: osEntry(runtime.os),
    ...(runtime.maxDmips > 0 && { maxDmips: runtime.maxDmips }),
    ...(runtime.allowedDmips > 0 && { allowedDmips: runtime.allowedDmips }),
    ...(runtime.totalRam > 0 && { totalRam: runtime.totalRam }),
    ...(runtime.allowedRam > 0 && { allowedRam: runtime.allowedRam }),
    maxInstances: runtime.maxInstances,
  };
}

function osEntry({ os, version, features }: OsInfo): NodeStatus['osInfo'] {
  return { os, ...(version !== '' && { version }), ...(features.length > 0 && { features: [...features] }) };
}

function archEntry({ architecture, variant }: ArchInfo): RuntimeStatus['archInfo'] {
  return { architecture, ...(variant !== '' && { variant }) };
}

/** Items with those that nodes brought along: the latter are named by codename and count as installed. */
function itemEntries(items: readonly ItemStatus[], instances: readonly InstanceStatus[]): ReportedItem[] {
  const preinstalled = new Map(
    instances
      .filter(({ ident }) => ident.preinstalled)
      .map(({ ident, version }) => [JSON.stringify([ident.itemId, version]), { ident, version }]),
  );
  const entries = items.map((item): ReportedItem => {
    const isPreinstalled = preinstalled.delete(JSON.stringify([item.itemId, item.version]));
    return {
      item: { ...named(item.itemId, isPreinstalled), type: item.type },
      version: item.version,
      state: item.state,
      ...errorMember(item.error),
    };
  });
  const brought = [...preinstalled.values()].map(
    ({ ident, version }): ReportedItem => ({
      item: { ...named(ident.itemId, true), type: ident.type },
      version,
      state: 'installed',
    }),
  );
  return [...entries, ...brought];
}

function instanceGroups(instances: readonly InstanceStatus[]): ReportedInstances[] {
  const groups = new Map<string, { readonly first: InstanceStatus; readonly entries: ReportedInstance[] }>();
  for (const instance of instances) {
    const { ident, version } = instance;
    const key = JSON.stringify([ident.itemId, ident.subjectId, ident.type, ident.preinstalled, version]);
    const group = groups.get(key) ?? { first: instance, entries: [] };
    group.entries.push(instanceEntry(instance));
    groups.set(key, group);
  }
  return [...groups.values()].map(({ first: { ident, version }, entries }) => ({
    item: { ...named(ident.itemId, ident.preinstalled), type: ident.type },
    subject: named(ident.subjectId, ident.preinstalled),
    version,
    instances: entries,
  }));
}

function instanceEntry(instance: InstanceStatus): ReportedInstance {
  const { ident, nodeId, runtimeId, state, stateChecksum } = instance;
  return {
    node: { codename: nodeId },
    runtime: { codename: runtimeId },
    instance: ident.instance,
    ...(stateChecksum && { stateChecksum }),
    state,
    ...errorMember(instance.error),
  };
}

function named(id: string, preinstalled: boolean): Identity {
  return preinstalled ? { codename: id } : { id };
}

function errorMember(error: ErrorInfo | undefined): { readonly errorInfo?: ErrorInfo } {
  return error ? { errorInfo: error } : {};
}

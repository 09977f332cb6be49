/** What the cloud's REST interface tells of a unit, in the words of the unit's own status, and how the tables read it. */
import type { ErrorInfo, InstanceState, ItemState, ItemType, NodeState, UnitConfigState } from '../core/index.ts';
import type { InstanceReport, ItemReport, NodeReport } from '../daemon/index.ts';

interface Identity {
  readonly id?: string;
  readonly codename?: string;
  readonly title?: string;
  readonly type?: ItemType;
}

/** Answer to `GET /api/units/<system id>`. */
export interface CloudUnit {
  readonly systemId: string;
  readonly online: boolean;
  readonly lastSeen?: string;
  readonly unitConfig?: readonly { version?: string; state: UnitConfigState; errorInfo?: ErrorInfo }[];
  readonly nodes?: readonly {
    readonly identity: Identity;
    readonly nodeGroupSubject: Identity;
    readonly state: NodeState;
    readonly isConnected: boolean;
    readonly attrs?: Readonly<Record<string, string>>;
    readonly runtimes?: readonly { readonly identity: Identity; readonly runtimeType: string }[];
    readonly errorInfo?: ErrorInfo;
  }[];
  readonly items?: readonly {
    readonly item: Identity;
    readonly version: string;
    readonly state: ItemState;
    readonly errorInfo?: ErrorInfo;
  }[];
  readonly instances?: readonly {
    readonly item: Identity;
    readonly subject: Identity;
    readonly version: string;
    readonly instances: readonly {
      readonly node: Identity;
      readonly runtime: Identity;
      readonly instance: number;
      readonly state: InstanceState;
      readonly errorInfo?: ErrorInfo;
    }[];
  }[];
  readonly subjects?: readonly Identity[];
}

const nameOf = (identity: Identity): string => identity.id ?? identity.codename ?? '';
const errorOf = (errorInfo: ErrorInfo | undefined) => (errorInfo ? { error: errorInfo } : {});

/** The nodes of a unit as its own CM would report them. */
export function nodesOf(unit: CloudUnit): NodeReport[] {
  return (unit.nodes ?? []).map((node) => ({
    nodeId: nameOf(node.identity),
    nodeType: nameOf(node.nodeGroupSubject),
    title: node.identity.title ?? '',
    state: node.state,
    connected: node.isConnected,
    runtimes: (node.runtimes ?? []).map((runtime) => runtime.runtimeType),
    ...errorOf(node.errorInfo),
  }));
}

/** The items of a unit as its own CM would report them. */
export function itemsOf(unit: CloudUnit): ItemReport[] {
  return (unit.items ?? []).map(({ item, version, state, errorInfo }) => ({
    itemId: nameOf(item),
    type: item.type ?? 'service',
    version,
    state,
    ...errorOf(errorInfo),
  }));
}

/** The instances of a unit as its own CM would report them: one entry each, out of their groups. */
export function instancesOf(unit: CloudUnit): InstanceReport[] {
  return (unit.instances ?? []).flatMap((group) =>
    group.instances.map((entry) => ({
      itemId: nameOf(group.item),
      subjectId: nameOf(group.subject),
      instance: entry.instance,
      version: group.version,
      nodeId: nameOf(entry.node),
      runtimeId: nameOf(entry.runtime),
      state: entry.state,
      ...errorOf(entry.errorInfo),
    })),
  );
}

/** What a desired status orders once: states of nodes and a unit configuration (spec/cm.md 2.4, spec/decisions.md CM-08). */
import { asAosError, type ErrorInfo, type NodeState, throwIfCanceled, toErrorInfo } from '../../core/index.ts';
import type { EventSink } from '../events/index.ts';
import type { Desired } from './desired-model.ts';

export interface UpdateNodes {
  state(nodeId: string): NodeState | undefined;
  pause(nodeId: string, signal: AbortSignal): Promise<void>;
  resume(nodeId: string, signal: AbortSignal): Promise<void>;
}

export interface UnitConfigOutcome {
  readonly version: string;
  readonly state: 'absent' | 'installed' | 'failed';
  readonly error?: ErrorInfo | undefined;
}

export interface OrderReports {
  nodeUpdateFailed(nodeId: string, error: ErrorInfo | undefined): void;
  unitConfigOutcome(outcome: UnitConfigOutcome): void;
}

export interface OrderTargets {
  readonly nodes: UpdateNodes;
  readonly unitConfig: { apply(config: unknown, signal: AbortSignal): Promise<UnitConfigOutcome> };
  readonly reports: OrderReports;
  readonly events: EventSink;
}

/** Carries out what is not in force yet. What fails is reported and stops nothing; rejects only with `canceled`. */
export async function carryOutOrders(desired: Desired, targets: OrderTargets, signal: AbortSignal): Promise<void> {
  for (const { item, state } of desired.nodes) await orderNode(item.codename, state, targets, signal);
  if (!desired.unitConfig) return;
  const { unitConfig, reports, events } = targets;
  const outcome = await unitConfig.apply(desired.unitConfig, signal);
  reports.unitConfigOutcome(outcome);
  events.record({
    about: { kind: 'unit-config', id: outcome.version },
    what: outcome.state === 'installed' ? 'was installed' : 'was refused',
    because: outcome.error?.message || 'the desired status orders it',
  });
}

async function orderNode(
  nodeId: string,
  state: 'provisioned' | 'paused',
  { nodes, reports, events }: OrderTargets,
  signal: AbortSignal,
): Promise<void> {
  const about = { kind: 'node', id: nodeId } as const;
  if (nodes.state(nodeId) === state) {
    reports.nodeUpdateFailed(nodeId, undefined);
    return;
  }
  try {
    await (state === 'paused' ? nodes.pause(nodeId, signal) : nodes.resume(nodeId, signal));
    reports.nodeUpdateFailed(nodeId, undefined);
    const what = state === 'paused' ? 'was paused' : 'was resumed';
    events.record({ about, what, because: 'the desired status orders it' });
  } catch (error) {
    throwIfCanceled(signal);
    reports.nodeUpdateFailed(nodeId, toErrorInfo(error));
    events.record({ about, what: `could not become ${state}`, because: asAosError(error).message });
  }
}

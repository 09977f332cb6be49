/** What the control socket tells of the unit (src/daemon/reports.ts). Pure. */
import type { UnitReport } from '../../daemon/index.ts';
import type { InstanceStatus, ItemStatus, NodeInfo } from '../model.ts';
import type { UnitConfigReport } from './unit-status.ts';

export interface UnitFacts {
  readonly systemId: string;
  readonly unitModel: string;
  readonly cloud: UnitReport['cloud'];
  readonly update: UnitReport['update'];
  readonly unitConfig: UnitConfigReport;
  readonly nodes: readonly NodeInfo[];
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
}

export function unitReport(facts: UnitFacts): UnitReport {
  const { systemId, unitModel, cloud, update, unitConfig } = facts;
  return {
    systemId,
    unitModel,
    cloud,
    update,
    unitConfig: {
      state: unitConfig.state,
      ...(unitConfig.version !== '' && { version: unitConfig.version }),
      ...(unitConfig.error && { error: unitConfig.error }),
    },
    nodes: facts.nodes.map(({ nodeId, nodeType, title, state, isConnected, runtimes, error }) => ({
      nodeId,
      nodeType,
      title,
      state,
      connected: isConnected,
      runtimes: runtimes.map(({ type }) => type),
      ...(error && { error }),
    })),
    items: facts.items
      .filter(({ state }) => state !== 'removed')
      .map(({ itemId, type, version, state, error }) => ({ itemId, type, version, state, ...(error && { error }) })),
    instances: facts.instances.map(({ ident, version, nodeId, runtimeId, state, error }) => ({
      itemId: ident.itemId,
      subjectId: ident.subjectId,
      instance: ident.instance,
      version,
      nodeId,
      runtimeId,
      state,
      ...(error && { error }),
    })),
  };
}

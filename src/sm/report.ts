/** What the SM tells on its control socket; `aosctl` shows it. */
import * as z from 'zod';
import { instanceId, readDocument } from '../core/index.ts';
import type { InstanceUsageReport, UsageReport } from '../daemon/index.ts';
import type { CloudPresence, CmLink } from './client/index.ts';
import type { FirmwareReport } from './firmware/index.ts';
import type { Launcher } from './launcher/index.ts';
import type { NodeInfo, RuntimeInfo } from './model.ts';
import type { Reading, Traffic } from './monitoring/index.ts';
import type { NodeConfigKeeper } from './node-config/index.ts';
import type { RunningInstance } from './runtime/index.ts';

export interface ReportParts {
  readonly node: NodeInfo;
  readonly link: Pick<CmLink, 'state' | 'lastError'>;
  readonly cloud: Pick<CloudPresence, 'state'>;
  readonly nodeConfig: NodeConfigKeeper;
  readonly runtimes: readonly RuntimeInfo[];
  readonly firmware: readonly FirmwareReport[];
  readonly launcher: Launcher;
}

export function nodeReport({ node, link, cloud, nodeConfig, runtimes, firmware, launcher }: ReportParts) {
  return {
    nodeId: node.nodeId,
    nodeType: node.nodeType,
    cm: { state: link.state, ...(link.lastError ? { lastError: link.lastError } : {}) },
    cloud: cloud.state,
    nodeConfig: nodeConfig.status(),
    runtimes: runtimes.map(({ runtimeId, type }) => ({ runtimeId, type })),
    ...(firmware.length > 0 && { firmware }),
    /** All that are known here, also those that could not be started. */
    instances: launcher.board.entries().map(({ status, because }) => ({
      id: instanceId(status.ident),
      ...status.ident,
      version: status.version,
      runtimeId: status.runtimeId,
      state: status.state,
      ...(status.error ? { error: status.error } : {}),
      because,
    })),
  };
}

/** Answer to `/usage`. */
export function usageReport(reading: Reading, node: NodeInfo, instances: readonly RunningInstance[]): UsageReport {
  return {
    at: reading.at.toISOString(),
    monotonicMs: reading.monotonicMs,
    node: {
      nodeId: node.nodeId,
      maxDmips: node.maxDmips,
      threads: node.cpus.reduce((sum, { numThreads }) => sum + numThreads, 0),
      cpuIdle: reading.cpu.idle,
      cpuTotal: reading.cpu.total,
      ramBytes: reading.ramBytes,
      totalRamBytes: node.totalRam,
      partitions: node.partitions.flatMap(({ name, totalSize }) => {
        const usedBytes = reading.partitions[name];
        return usedBytes === undefined ? [] : [{ name, usedBytes, totalBytes: totalSize }];
      }),
      ...trafficReport(reading.traffic),
    },
    instances: instances.flatMap(({ id, itemId, subjectId, instance, version, restarts }): InstanceUsageReport[] => {
      const read = reading.instances.get(id);
      if (!read) return [];
      const { cpuUs, ramBytes, partitions, traffic } = read;
      const { storages, states } = partitions;
      return [
        {
          ...{ id, itemId, subjectId, instance, version, restarts, cpuUs, ramBytes },
          ...(storages !== undefined && { storageBytes: storages }),
          ...(states !== undefined && { stateBytes: states }),
          ...trafficReport(traffic),
        },
      ];
    }),
  };
}

function trafficReport(traffic: Traffic | undefined): { downloadBytes?: number; uploadBytes?: number } {
  return traffic ? { downloadBytes: traffic.download, uploadBytes: traffic.upload } : {};
}

const AlertQuery = z.object({ after: z.int().min(0).default(0) }).default({ after: 0 });

/** Body of `/alerts`: the number after which alerts are asked for. */
export function readAlertQuery(body: unknown): number {
  return readDocument(AlertQuery, body, { what: 'the question for alerts' }).value.after;
}

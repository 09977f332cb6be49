/** Limits of an instance (spec/sm.md 5.8). Pure. */
import { AosError } from '../../core/index.ts';
import type { Quotas } from '../../oci/index.ts';
import type { OciProcess, OciResources } from '../../platform/oci-runtime/index.ts';
import { DEFAULT_OPEN_FILES } from './oci-base.ts';

/** Microseconds. */
const CPU_PERIOD_US = 100_000;
const MIN_CPU_QUOTA_US = 1_000;
/** More than any machine has; the kernel refuses much larger numbers. */
const MAX_CPU_QUOTA_US = 1e12;

export interface ProcessorFacts {
  /** What all processors of the node do together. */
  readonly maxDmips: number;
  /** Of all processors; 0 is read as 1. */
  readonly numCores: number;
}

/** Share of processor time for a limit in DMIPS. Throws `invalidArgument` when the node's own DMIPS are unknown. */
export function cpuQuota(
  limitDmips: number,
  node: ProcessorFacts,
): { readonly period: number; readonly quota: number } {
  if (node.maxDmips <= 0) {
    throw new AosError('invalidArgument', 'a CPU limit needs maxDMIPS in the node information of IAM, which is 0');
  }
  const quota = Math.floor((limitDmips * CPU_PERIOD_US * Math.max(node.numCores, 1)) / node.maxDmips);
  return { period: CPU_PERIOD_US, quota: Math.min(Math.max(quota, MIN_CPU_QUOTA_US), MAX_CPU_QUOTA_US) };
}

export function cgroupLimits(quotas: Quotas, node: ProcessorFacts): Omit<OciResources, 'devices'> {
  const { cpuDMIPSLimit, ramLimit, pidsLimit } = quotas;
  return {
    ...(cpuDMIPSLimit === undefined ? {} : { cpu: cpuQuota(cpuDMIPSLimit, node) }),
    ...(ramLimit === undefined ? {} : { memory: { limit: ramLimit } }),
    ...(pidsLimit === undefined ? {} : { pids: { limit: pidsLimit } }),
  };
}

export function processLimits({ noFileLimit = DEFAULT_OPEN_FILES, pidsLimit }: Quotas): OciProcess['rlimits'] {
  return [
    { type: 'RLIMIT_NOFILE', soft: noFileLimit, hard: noFileLimit },
    ...(pidsLimit === undefined ? [] : [{ type: 'RLIMIT_NPROC', soft: pidsLimit, hard: pidsLimit }]),
  ];
}

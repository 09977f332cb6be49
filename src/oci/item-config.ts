/**
 * Item configuration: what an item's author wants of the unit (spec/oci-items.md 6).
 *
 * All forms of older schemas are read (spec/decisions.md C-43 … C-57); inside there is one form.
 */
import * as z from 'zod';
import { AlertRules } from './alert-rules.ts';
import { DurationMs, NameSet, SystemText, Uint } from './scalars.ts';

/** Runtime types of an item that names none. */
export const DEFAULT_RUNTIMES: readonly string[] = ['crun', 'runc'];

/** An identity stands for its codename, else its id. */
const RuntimeType = z
  .union([z.string(), z.object({ codename: z.string().optional(), id: z.string().optional() })])
  .transform((value, context) => {
    const type = typeof value === 'string' ? value : (value.codename ?? value.id);
    if (type) return type;
    context.addIssue({ code: 'custom', message: 'expected a codename' });
    return z.NEVER;
  });

/** Absent or empty mode: usable, no mknod (spec/decisions.md C-57). */
const Resource = z
  .union([
    z.string().transform((name) => ({ name, mode: '' })),
    z.object({ name: z.string(), mode: z.string().default('') }),
  ])
  .transform(({ name, mode }) => ({ name, mode: mode || 'rw' }))
  .refine(({ name }) => name !== '', 'expected the name of a resource')
  .refine(({ mode }) => /^[rwm]{1,3}$/.test(mode), 'expected a mode of the letters r, w, m');

const RunParameters = z
  .object({
    startInterval: DurationMs.default(5000),
    /** 0 or less: no limit. */
    startBurst: z.int().default(3),
    restartInterval: DurationMs.default(1000),
  })
  .transform(({ startInterval, startBurst, restartInterval }) => ({
    startIntervalMs: startInterval,
    startBurst,
    restartIntervalMs: restartInterval,
  }));

/** All without limit when absent. */
export const Quotas = z.object({
  cpuDMIPSLimit: Uint.optional(),
  /** Bytes. */
  ramLimit: Uint.optional(),
  pidsLimit: Uint.optional(),
  noFileLimit: Uint.optional(),
  /** Bytes of a tmpfs on /tmp. */
  tmpLimit: Uint.optional(),
  /** Bytes; more than 0 gives the instance a state. */
  stateLimit: Uint.optional(),
  /** Bytes; more than 0 gives the instance a storage. */
  storageLimit: Uint.optional(),
  /** Kilobits (1000 bit) per second. */
  uploadSpeed: Uint.optional(),
  /** Kilobits (1000 bit) per second. */
  downloadSpeed: Uint.optional(),
  /** Bytes per day. */
  uploadLimit: Uint.optional(),
  /** Bytes per day. */
  downloadLimit: Uint.optional(),
  /** Percent in older schemas, DMIPS in newer ones: nobody can tell, so it is read only to warn (spec/decisions.md C-43). */
  cpuLimit: z.unknown().optional(),
});
export type Quotas = Omit<z.output<typeof Quotas>, 'cpuLimit'>;

/** To be free where the item is placed: DMIPS and bytes. */
const RequestedResources = z.object({
  cpu: Uint.optional(),
  ram: Uint.optional(),
  storage: Uint.optional(),
  state: Uint.optional(),
});

/** Our own additions, which twins ignore (spec/decisions.md 2.5). */
const extensions = {
  /** False: the image is complete and nothing of the node lies underneath. */
  baseLayerIsNodeRootfs: z.boolean().default(true),
  layerOrder: z.enum(['aos', 'oci'], 'expected "aos" or "oci"').optional(),
  /** `never`: an end with exit code 0 is no failure and no reason to start again (spec/decisions.md 5.1). */
  restart: z.enum(['always', 'never'], 'expected "always" or "never"').optional(),
  stopTimeout: DurationMs.optional(),
  probes: z.unknown().optional(),
  dependencies: z.unknown().optional(),
  update: z.unknown().optional(),
};

export const ItemConfig = z
  .object({
    created: z.string().optional(),
    author: z.string().default(''),
    skipResourceLimits: z.boolean().default(false),
    hostname: SystemText.optional(),
    balancingPolicy: z.enum(['enabled', 'disabled'], 'expected "enabled" or "disabled"').default('enabled'),
    runtimes: z.array(RuntimeType).optional(),
    /** Older name and form of `runtimes`. */
    runners: z.array(RuntimeType).optional(),
    runParameters: RunParameters.prefault({}),
    sysctl: z.record(SystemText, SystemText).default({}),
    offlineTTL: DurationMs.default(0),
    quotas: Quotas.prefault({}),
    requestedResources: RequestedResources.prefault({}),
    /** `<item ID>/<port>[/<protocol>]`; take apart with `parseAllowedConnection`. */
    allowedConnections: NameSet.default([]),
    resources: z.array(Resource).default([]),
    /** Functional server → function → `r`, `w` or `rw`. */
    permissions: z.record(z.string(), z.record(z.string(), z.string())).default({}),
    alertRules: AlertRules.optional(),
    ...extensions,
  })
  .transform(({ runtimes, runners, offlineTTL, stopTimeout, quotas, ...rest }) => {
    const named = runtimes ?? runners ?? [];
    const { cpuLimit: _, ...limits } = quotas;
    return {
      ...rest,
      /** Runtime types, without order of preference; never empty. */
      runtimes: named.length > 0 ? [...new Set(named)] : [...DEFAULT_RUNTIMES],
      /** False when `runtimes` is the default. */
      namesRuntimes: named.length > 0,
      quotas: limits,
      /** The instance stops when the unit was without cloud for so long; 0: never. */
      offlineTtlMs: offlineTTL,
      ...(stopTimeout === undefined ? {} : { stopTimeoutMs: stopTimeout }),
    };
  });
export type ItemConfig = z.output<typeof ItemConfig>;
/** An item configuration as it is written. */
export type ItemConfigDocument = z.input<typeof ItemConfig>;

/** Keys that both generations of author files have. */
import * as z from 'zod';

export const Command = z.union([z.string(), z.array(z.string())]);
export const Duration = z.union([z.string(), z.number()]);

export const Instances = z.object({
  minInstances: z.int().min(0).max(100).default(1),
  priority: z.int().min(0).optional(),
  labels: z.array(z.string()).default([]),
});

export const RunParameters = z.object({
  startInterval: Duration.optional(),
  startBurst: z.int().optional(),
  restartInterval: Duration.optional(),
});

export const Permissions = z.record(z.string(), z.record(z.string(), z.string()));

/** The object without members that are undefined, empty lists and empty objects: what nobody said is not written. */
export function said(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(members).filter(
      ([, value]) =>
        value !== undefined && !(typeof value === 'object' && value !== null && Object.keys(value).length === 0),
    ),
  );
}

/** A set of names as units read it: an object whose keys count. */
export function nameSet(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

export function defaultsOf(instances: z.output<typeof Instances> | undefined) {
  if (!instances) return {};
  const { minInstances, priority, labels } = instances;
  return { numInstances: minInstances, labels, ...(priority !== undefined && { priority }) };
}

/** Environment variables laid over those of images (spec/cloud-protocol.md 8.15, 8.16). */
import * as z from 'zod';
import { aliasedInstanceShape, instanceFilterShape, subjectOf } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { list, Time, text } from './values.ts';

/** Capacities (spec/decisions.md 8.3). */
const MAX = { entries: 256, variables: 16, nameBytes: 256, valueBytes: 10_240 };

export const OverrideVariable = z.object({
  name: text(MAX.nameBytes).refine((name) => name !== '' && !/[=\0]/.test(name), 'expected a name without "="'),
  value: text(MAX.valueBytes)
    .refine((value) => !value.includes('\0'), 'expected a text without zero bytes')
    .default(''),
  /** The moment at which it ends. */
  ttl: Time.optional(),
});
export type OverrideVariable = z.output<typeof OverrideVariable>;

export const OverrideEntry = z.object({
  ...instanceFilterShape,
  variables: list(OverrideVariable, MAX.variables).default([]),
});
export type OverrideEntry = z.output<typeof OverrideEntry>;

/** Replaces all earlier overrides; empty removes them. */
export const OverrideEnvVars = message('overrideEnvVars', { items: list(OverrideEntry, MAX.entries).default([]) });
export type OverrideEnvVars = z.output<typeof OverrideEnvVars>;

/** One instance and variable; also reads the older name of `subject` (spec/cloud-protocol.md 13). */
export const OverrideStatus = z
  .object({ ...aliasedInstanceShape, name: z.string(), errorInfo: OptionalErrorInfo })
  .transform(({ item, subject, subjectId, instance, name, errorInfo }) => ({
    item,
    subject: subjectOf({ subject, subjectId }),
    instance,
    name,
    ...(errorInfo ? { errorInfo } : {}),
  }));
export type OverrideStatus = z.output<typeof OverrideStatus>;

export const OverrideEnvVarsStatus = message('overrideEnvVarsStatus', { statuses: list(OverrideStatus) });
export type OverrideEnvVarsStatus = z.output<typeof OverrideEnvVarsStatus>;

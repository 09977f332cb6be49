/** Alerts of all kinds (spec/cloud-protocol.md 8.8). */
import * as z from 'zod';
import { aliasedInstanceShape, CodenameIdentity, instanceShape, subjectOf } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { list, Time, Uint } from './values.ts';

function alert<T extends string, S extends z.ZodRawShape>(tag: T, shape: S) {
  return z.object({ timestamp: Time, tag: z.literal(tag), ...shape });
}

const SystemAlert = alert('systemAlert', { node: CodenameIdentity, message: z.string() });

const CoreAlert = alert('coreAlert', {
  node: CodenameIdentity,
  coreComponent: z.enum(['CM', 'SM', 'IAM', 'MP']),
  message: z.string(),
});

const ResourceAllocateAlert = alert('resourceAllocateAlert', {
  ...instanceShape,
  node: CodenameIdentity,
  /** Name of the resource. */
  deviceId: z.string(),
  message: z.string(),
});

/** The same under the names of the published schema (spec/decisions.md C-26). */
const DeviceAllocateAlert = alert('deviceAllocateAlert', {
  ...aliasedInstanceShape,
  node: CodenameIdentity,
  deviceId: z.string().optional(),
  resource: z.string().optional(),
  message: z.string(),
}).transform(({ timestamp, item, subject, subjectId, instance, node, deviceId, resource, message }) => ({
  timestamp,
  tag: 'resourceAllocateAlert' as const,
  item,
  subject: subjectOf({ subject, subjectId }),
  instance,
  node,
  deviceId: deviceId ?? resource ?? '',
  message,
}));

const quotaShape = {
  /** `cpu`, `ram`, `download`, `upload` or the name of a partition. */
  parameter: z.string(),
  /** DMIPS for `cpu`, else bytes. */
  value: z.number(),
};

const SystemQuotaAlert = alert('systemQuotaAlert', { node: CodenameIdentity, ...quotaShape });

const InstanceQuotaAlert = alert('instanceQuotaAlert', { ...instanceShape, ...quotaShape });

const DownloadProgressAlert = alert('downloadProgressAlert', {
  digest: z.string(),
  url: z.string(),
  downloadedBytes: Uint,
  totalBytes: Uint,
  state: z.enum(['started', 'paused', 'interrupted', 'finished']),
  reason: z.string().optional(),
  errorInfo: OptionalErrorInfo,
});

const UpdateItemInstanceAlert = alert('updateItemInstanceAlert', {
  ...aliasedInstanceShape,
  version: z.string(),
  message: z.string(),
}).transform(({ timestamp, tag, item, subject, subjectId, instance, version, message }) => ({
  timestamp,
  tag,
  item,
  subject: subjectOf({ subject, subjectId }),
  instance,
  version,
  message,
}));

export const Alert = z.discriminatedUnion('tag', [
  SystemAlert,
  CoreAlert,
  ResourceAllocateAlert,
  DeviceAllocateAlert,
  SystemQuotaAlert,
  InstanceQuotaAlert,
  DownloadProgressAlert,
  UpdateItemInstanceAlert,
]);
export type Alert = z.output<typeof Alert>;

export const Alerts = message('alerts', { items: list(Alert) });
export type Alerts = z.output<typeof Alerts>;

/** Logs on request (spec/cloud-protocol.md 8.9, 8.10). */
import * as z from 'zod';
import { CodenameIdentity, instanceFilterShape, NodeIdentity } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { Base64, list, Time, Uint } from './values.ts';

export const LogFilter = z.object({
  from: Time.optional(),
  till: Time.optional(),
  /** Empty: all nodes (spec/decisions.md C-22). */
  nodeIds: list(NodeIdentity).default([]),
  ...instanceFilterShape,
});
export type LogFilter = z.output<typeof LogFilter>;

/** Any type is read; all but `https` are as if absent (spec/decisions.md C-23). */
export const UploadOptions = z.object({
  type: z.string().default(''),
  url: z.string().default(''),
  bearerToken: z.string().default(''),
  bearerTokenTtl: z.string().optional(),
});
export type UploadOptions = z.output<typeof UploadOptions>;

export const RequestLog = message('requestLog', {
  logType: z.enum(['systemLog', 'instanceLog', 'crashLog']),
  filter: LogFilter,
  uploadOptions: UploadOptions.optional(),
});
export type RequestLog = z.output<typeof RequestLog>;

/** One part of the log of one node; the published schema calls `error` `failed` (spec/decisions.md C-20). */
export const PushLog = message('pushLog', {
  node: CodenameIdentity,
  /** From 1; 0 of 0 for an error. */
  part: Uint,
  partsCount: Uint,
  /** A complete gzip file. */
  content: Base64,
  status: z
    .enum(['ok', 'error', 'empty', 'absent', 'failed'])
    .transform((status) => (status === 'failed' ? 'error' : status)),
  errorInfo: OptionalErrorInfo,
});
export type PushLog = z.output<typeof PushLog>;

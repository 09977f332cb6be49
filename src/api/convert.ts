/** Between contract messages and the vocabulary of `core` (spec/grpc.md). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  AosError,
  type ErrorInfo,
  fromErrorInfo,
  type InstanceFilter,
  type InstanceIdent,
  toErrorInfo,
  toIamErrorInfo,
} from '../core/index.ts';
import {
  type ErrorInfo as ErrorInfoMessage,
  type ErrorInfoSchema,
  type InstanceFilter as InstanceFilterMessage,
  type InstanceFilterSchema,
  type InstanceIdent as InstanceIdentMessage,
  type InstanceIdentSchema,
  ItemType,
} from './gen/common/v2/common_pb.js';

/** An error on messages of `servicemanager.v5`; undefined writes the zeros that every status carries. */
export function errorMessage(error: unknown): MessageInitShape<typeof ErrorInfoSchema> {
  return error === undefined ? { aosCode: 0, exitCode: 0, message: '' } : toErrorInfo(error);
}

/** An error in an answer of IAM: its exit code is never 0. */
export function iamErrorMessage(error: unknown): MessageInitShape<typeof ErrorInfoSchema> {
  return toIamErrorInfo(error);
}

/** The failure a peer reported, or undefined for success. */
export function readErrorMessage(message: ErrorInfoMessage | ErrorInfo | undefined): AosError | undefined {
  return fromErrorInfo(message);
}

/** An instance as every service of the contracts names it. */
export function identMessage(ident: InstanceIdent): MessageInitShape<typeof InstanceIdentSchema> {
  return {
    itemId: ident.itemId,
    subjectId: ident.subjectId,
    instance: BigInt(ident.instance),
    type: ident.type === 'service' ? ItemType.SERVICE : ItemType.COMPONENT,
    preinstalled: ident.preinstalled,
  };
}

/** A moment on the wire; nanoseconds count forward, also before 1970, where a clock without a battery may be. */
export function timestampMessage(at: Date): { readonly seconds: bigint; readonly nanos: number } {
  const ms = at.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.trunc((ms - seconds * 1000) * 1e6) };
}

/** Throws `invalidArgument` when the peer left the ident out. */
export function readIdentMessage(message: InstanceIdentMessage | undefined): InstanceIdent {
  if (!message) throw new AosError('invalidArgument', 'the message names no instance');
  return {
    itemId: message.itemId,
    subjectId: message.subjectId,
    instance: Number(message.instance),
    type: message.type === ItemType.SERVICE ? 'service' : 'component',
    preinstalled: message.preinstalled,
  };
}

/** On the wire −1 and empty ids mean any. */
export function filterMessage(filter: InstanceFilter): MessageInitShape<typeof InstanceFilterSchema> {
  return {
    itemId: filter.itemId ?? '',
    subjectId: filter.subjectId ?? '',
    instance: BigInt(filter.instance ?? -1),
  };
}

/** The reverse of `filterMessage`; what a filter leaves open is undefined, and a message that is not there leaves all open. */
export function readFilterMessage(message: InstanceFilterMessage | undefined): InstanceFilter {
  return {
    itemId: message?.itemId || undefined,
    subjectId: message?.subjectId || undefined,
    instance: message === undefined || message.instance < 0n ? undefined : Number(message.instance),
  };
}

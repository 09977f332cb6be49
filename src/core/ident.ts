/** Identities of items, instances and runtimes (spec/sm.md 0.1). */
import { hash } from 'node:crypto';

export type ItemType = 'service' | 'component';

/** An item in one version. */
export interface ItemIdent {
  readonly itemId: string;
  readonly version: string;
}

/** One instance: equal only if all five fields are equal. */
export interface InstanceIdent {
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
  readonly type: ItemType;
  readonly preinstalled: boolean;
}

/** Which instances are meant; an absent member means any. */
export interface InstanceFilter {
  readonly itemId?: string | undefined;
  readonly subjectId?: string | undefined;
  readonly instance?: number | undefined;
}

/** RFC 4122 namespace of object identifiers. */
const OID_NAMESPACE = Buffer.from('6ba7b8129dad11d180b400c04fd430c8', 'hex');

function uuidVersion3(name: string): string {
  const bytes = hash('md5', Buffer.concat([OID_NAMESPACE, Buffer.from(name)]), 'buffer');
  bytes[6] = (bytes[6]! & 0x0f) | 0x30;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The id of an instance: names its container, cgroup, network namespace and directories. */
export function instanceId(ident: Pick<InstanceIdent, 'itemId' | 'subjectId' | 'instance'>): string {
  return uuidVersion3(`${ident.itemId}:${ident.subjectId}:${ident.instance}`);
}

/** The id of a runtime, as it is reported to the cloud. */
export function runtimeId(runtimeType: string, nodeId: string): string {
  return uuidVersion3(`${runtimeType}-${nodeId}`);
}

/** A text that is equal exactly for equal idents; for maps, never shown. */
export function instanceKey(ident: InstanceIdent): string {
  return JSON.stringify([ident.itemId, ident.subjectId, ident.instance, ident.type, ident.preinstalled]);
}

/** An instance as people write it: `item/subject/index`. */
export function instanceName(ident: Pick<InstanceIdent, 'itemId' | 'subjectId' | 'instance'>): string {
  return `${ident.itemId}/${ident.subjectId}/${ident.instance}`;
}

/** True when the filter selects the instance. */
export function matchesFilter(filter: InstanceFilter, ident: InstanceIdent): boolean {
  return (
    (filter.itemId === undefined || filter.itemId === ident.itemId) &&
    (filter.subjectId === undefined || filter.subjectId === ident.subjectId) &&
    (filter.instance === undefined || filter.instance === ident.instance)
  );
}

/**
 * Bad entries of lists are refused alone where the entry can be reported; the rest of the message counts
 * (spec/decisions.md C-17).
 */
import type { z } from 'zod';
import { type AosError, asAosError, isObject, readDocument } from '../core/index.ts';
import { ExpiringCertificate, IssuedCertificate } from './certificates.ts';
import { DesiredCertificate, DesiredInstance, DesiredItem } from './desired-status.ts';
import { OverrideEntry, OverrideVariable } from './env-vars.ts';
import { ProvisioningCertificate } from './provisioning.ts';

/** An entry that was left out of its message. */
export interface RefusedEntry {
  /** The list it stands in: `items`. */
  readonly list: string;
  readonly index: number;
  /** As it was received. */
  readonly entry: unknown;
  /** What the entry names, as far as it can be told: for reports. */
  readonly id?: string;
  readonly version?: string;
  readonly error: AosError;
}

interface EntryList {
  readonly key: string;
  readonly element: z.ZodType;
  /** Lists inside an entry whose own entries are refused alone. */
  readonly inner?: readonly EntryList[];
}

const ENTRY_LISTS: Readonly<Record<string, readonly EntryList[]>> = {
  desiredStatus: [
    { key: 'items', element: DesiredItem },
    { key: 'instances', element: DesiredInstance },
    { key: 'certificates', element: DesiredCertificate },
  ],
  overrideEnvVars: [{ key: 'items', element: OverrideEntry, inner: [{ key: 'variables', element: OverrideVariable }] }],
  renewCertificatesNotification: [{ key: 'certificates', element: ExpiringCertificate }],
  issuedUnitCertificates: [{ key: 'certificates', element: IssuedCertificate }],
  finishProvisioningRequest: [{ key: 'certificates', element: ProvisioningCertificate }],
};

/** The message without its bad entries, and these. */
export function refuseEntries(
  messageType: string,
  data: Record<string, unknown>,
): { readonly data: Record<string, unknown>; readonly refused: readonly RefusedEntry[] } {
  const refused: RefusedEntry[] = [];
  return { data: filter(data, ENTRY_LISTS[messageType] ?? [], messageType, refused), refused };
}

function filter(
  object: Record<string, unknown>,
  lists: readonly EntryList[],
  place: string,
  refused: RefusedEntry[],
): Record<string, unknown> {
  let result = object;
  for (const { key, element, inner } of lists) {
    const name = member(object, key);
    const entries = name === undefined ? undefined : object[name];
    if (name === undefined || !Array.isArray(entries)) continue;
    const kept = entries.flatMap((entry: unknown, index) => {
      const what = `${place}: ${key}[${index}]`;
      const checked = inner && isObject(entry) ? filter(entry, inner, what, refused) : entry;
      try {
        readDocument(element, checked, { what, lenientScalars: true });
        return [checked];
      } catch (error) {
        refused.push({ list: key, index, entry, ...nameOf(entry), error: asAosError(error) });
        return [];
      }
    });
    result = { ...result, [name]: kept };
  }
  return result;
}

/** The key of the object that is meant; the exact spelling wins. */
function member(object: Record<string, unknown>, key: string): string | undefined {
  if (object[key] !== undefined && object[key] !== null) return key;
  return Object.keys(object).find((name) => name.toLowerCase() === key.toLowerCase() && object[name] !== null);
}

function at(value: unknown, key: string): unknown {
  if (!isObject(value)) return undefined;
  const name = member(value, key);
  return name === undefined ? undefined : value[name];
}

function nameOf(entry: unknown): { readonly id?: string; readonly version?: string } {
  const identity = at(entry, 'item') ?? at(entry, 'identity') ?? at(entry, 'node');
  const id = ['id', 'codename', 'urn'].map((key) => at(identity, key)).find((value) => typeof value === 'string');
  const version = at(entry, 'version');
  return {
    ...(typeof id === 'string' && id !== '' ? { id: id.slice(0, 64) } : {}),
    ...(typeof version === 'string' ? { version: version.slice(0, 32) } : {}),
  };
}

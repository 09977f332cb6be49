/** What a token holds of a certificate type, against what the database says (spec/iam.md 9.4). Pure. */
import type { CertificateRecord } from '../store/iam-store.ts';

/** An object with the label of the type, without the session that found it. */
export interface ScannedObject {
  readonly kind: 'privateKey' | 'publicKey' | 'certificate';
  readonly keyId: string;
  /** Of certificates that can be read. */
  readonly record?: CertificateRecord;
}

export interface ScanPlan {
  readonly added: readonly CertificateRecord[];
  readonly removed: readonly CertificateRecord[];
  /** Ids of objects that belong to no valid set and wait for nothing: they go before the next key is made. */
  readonly leftovers: readonly string[];
  /** Waiting keys whose objects are gone or which have their certificate already. */
  readonly settledPending: readonly string[];
}

/**
 * Private key, public key and certificate of one id are a valid set. The rows are made equal to the valid sets: a row
 * whose URL differs is replaced.
 */
export function planScan(
  objects: readonly ScannedObject[],
  rows: readonly CertificateRecord[],
  pendingIds: readonly string[],
): ScanPlan {
  const has = (kind: ScannedObject['kind'], id: string) =>
    objects.some((object) => object.kind === kind && object.keyId === id);
  const hasPair = (id: string) => has('privateKey', id) && has('publicKey', id);
  const valid = objects.filter((object) => object.record && hasPair(object.keyId)).map(({ record }) => record!);
  const validIds = new Set(valid.map(({ keyId }) => keyId.toString('hex')));
  const waiting = new Set(pendingIds.filter((id) => !validIds.has(id) && hasPair(id)));
  const ids = new Set(objects.map(({ keyId }) => keyId));
  return {
    added: valid.filter((record) => !rows.some((row) => sameRecord(row, record))),
    removed: rows.filter((row) => !valid.some((record) => sameRecord(row, record))),
    leftovers: [...ids].filter((id) => !validIds.has(id) && !waiting.has(id)),
    settledPending: pendingIds.filter((id) => !waiting.has(id)),
  };
}

function sameRecord(a: CertificateRecord, b: CertificateRecord): boolean {
  return (
    a.type === b.type &&
    a.certUrl === b.certUrl &&
    a.keyUrl === b.keyUrl &&
    a.notAfterMs === b.notAfterMs &&
    a.issuer.equals(b.issuer) &&
    a.serial.equals(b.serial) &&
    a.keyId.equals(b.keyId)
  );
}

/** The records to drop so that one more has room: those that expire first (spec/iam.md 9.7). */
export function chooseEvicted(records: readonly CertificateRecord[], maxItems: number): CertificateRecord[] {
  const byEnd = [...records].sort((a, b) => a.notAfterMs - b.notAfterMs);
  return byEnd.slice(0, Math.max(0, records.length + 1 - maxItems));
}

/** The record in use: the one that is valid longest (spec/iam.md 9.3). */
export function currentRecord(records: readonly CertificateRecord[]): CertificateRecord | undefined {
  return records.reduce<CertificateRecord | undefined>(
    (best, record) => (best === undefined || record.notAfterMs > best.notAfterMs ? record : best),
    undefined,
  );
}

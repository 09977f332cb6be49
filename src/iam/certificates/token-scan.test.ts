import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CertificateRecord } from '../store/iam-store.ts';
import { chooseEvicted, currentRecord, planScan, type ScannedObject } from './token-scan.ts';

const record = (id: string, changes: Partial<CertificateRecord> = {}): CertificateRecord => ({
  type: 'iam',
  issuer: Buffer.from('issuer'),
  serial: Buffer.from(id, 'hex'),
  certUrl: `pkcs11:id=${id}`,
  keyUrl: `pkcs11:id=${id}`,
  notAfterMs: 1000,
  keyId: Buffer.from(id, 'hex'),
  ...changes,
});

const set = (id: string): ScannedObject[] => [
  { kind: 'privateKey', keyId: id },
  { kind: 'publicKey', keyId: id },
  { kind: 'certificate', keyId: id, record: record(id) },
];

test('[IAM-17] a complete set is kept, what is incomplete is a leftover, a waiting key is neither', () => {
  const orphan = { kind: 'certificate', keyId: '02', record: record('02') } as const;
  const plan = planScan([...set('01'), orphan, ...set('03').slice(0, 2), ...set('04').slice(0, 2)], [], ['03']);
  expect(plan).toEqual({ added: [record('01')], removed: [], leftovers: ['02', '04'], settledPending: [] });
});

test('[IAM-17] a waiting key that has its certificate, or no objects, waits no longer', () => {
  const plan = planScan(set('01'), [], ['01', '09']);
  expect(plan.settledPending).toEqual(['01', '09']);
});

test('rows without objects go, and a row whose URL changed is replaced', () => {
  const moved = record('01', { certUrl: 'elsewhere' });
  const plan = planScan(set('01'), [moved, record('07')], []);
  expect(plan.added).toEqual([record('01')]);
  expect(plan.removed).toEqual([moved, record('07')]);
});

test('planning again from the planned rows changes nothing', () => {
  const ids = fc.uniqueArray(fc.constantFrom('01', '02', '03', '04', '05'));
  const objects = ids.chain((list) => fc.subarray(list.flatMap(set)));
  fc.assert(
    fc.property(objects, ids, ids, (found, rowIds, pending) => {
      const rows = rowIds.map((id) => record(id));
      const plan = planScan(found, rows, pending);
      const after = [...rows.filter((row) => !plan.removed.includes(row)), ...plan.added];
      const stillPending = pending.filter((id) => !plan.settledPending.includes(id));
      const again = planScan(found, after, stillPending);
      expect(again).toMatchObject({ added: [], removed: [], settledPending: [] });
      expect(again.leftovers).toEqual(plan.leftovers);
    }),
  );
});

test('[IAM-13] those that expire first make room, and never more than needed', () => {
  const ends = fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 8 });
  fc.assert(
    fc.property(ends, fc.integer({ min: 1, max: 5 }), (times, maxItems) => {
      const records = times.map((notAfterMs, index) => record(`0${index}`, { notAfterMs }));
      const evicted = chooseEvicted(records, maxItems);
      const kept = records.filter((entry) => !evicted.includes(entry));
      expect(kept).toHaveLength(Math.min(records.length, maxItems - 1));
      for (const gone of evicted) {
        for (const stays of kept) expect(gone.notAfterMs).toBeLessThanOrEqual(stays.notAfterMs);
      }
    }),
  );
});

test('[IAM-11] the one in use is the one that is valid longest', () => {
  expect(currentRecord([])).toBeUndefined();
  const longest = record('02', { notAfterMs: 3000 });
  expect(currentRecord([record('01'), longest, record('03', { notAfterMs: 2000 })])).toBe(longest);
});

/** Certificates that this cloud has issued: only those in this list, and not revoked, open a door. */
import type { DatabaseSync } from 'node:sqlite';
import type { IssuedCertificate } from '../pki/authority.ts';

export interface CertificateRow {
  readonly fingerprint: string;
  readonly serial: string;
  readonly role: 'unit' | 'operator';
  readonly systemId: string | null;
  readonly nodeId: string | null;
  readonly type: string | null;
  readonly notAfter: string;
  readonly issuedAt: string;
  readonly installedAt: string | null;
  readonly revokedAt: string | null;
  /** Whom an operator's certificate stands for; null: the first user. */
  readonly userName: string | null;
}

export interface CertificateOwner {
  readonly systemId: string;
  readonly nodeId: string;
  readonly type: string;
}

export class CertificateStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  addOperator(fingerprint: string, serial: string, notAfter: Date, now: Date, userName?: string): void {
    this.#database
      .prepare(
        `INSERT OR IGNORE INTO certificates (fingerprint, serial, role, notAfter, issuedAt, userName)
         VALUES (?, ?, 'operator', ?, ?, ?)`,
      )
      .run(fingerprint, serial, notAfter.toISOString(), now.toISOString(), userName ?? null);
  }

  /** Revokes all certificates of a user. */
  revokeOfUser(userName: string, now: Date): void {
    this.#database
      .prepare('UPDATE certificates SET revokedAt = ? WHERE userName = ? AND revokedAt IS NULL')
      .run(now.toISOString(), userName);
  }

  /** Certificates of all units, or of one, that are in use and end before a time; the first to end comes first. */
  endingBefore(time: Date, systemId?: string): CertificateRow[] {
    const ofUnit = systemId === undefined ? '' : 'AND systemId = ?';
    const rows = this.#database
      .prepare(
        `SELECT * FROM certificates WHERE role = 'unit' AND revokedAt IS NULL ${ofUnit} ORDER BY issuedAt DESC, rowid DESC`,
      )
      .all(...(systemId === undefined ? [] : [systemId])) as unknown as CertificateRow[];
    const newest = new Map<string, CertificateRow>();
    for (const row of rows) {
      const place = JSON.stringify([row.systemId, row.nodeId, row.type]);
      if (!newest.has(place)) newest.set(place, row);
    }
    return [...newest.values()]
      .filter(({ notAfter }) => notAfter < time.toISOString())
      .sort((a, b) => (a.notAfter < b.notAfter ? -1 : 1));
  }

  addForUnit(issued: IssuedCertificate, owner: CertificateOwner, now: Date): void {
    const { fingerprint, serial, notAfter } = issued;
    this.#database
      .prepare(
        `INSERT INTO certificates (fingerprint, serial, role, systemId, nodeId, type, notAfter, issuedAt)
         VALUES (?, ?, 'unit', ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[fingerprint, serial, owner.systemId, owner.nodeId, owner.type],
        ...[notAfter.toISOString(), now.toISOString()],
      );
  }

  /** The certificate, unless it is unknown or revoked. */
  find(fingerprint: string): CertificateRow | undefined {
    return this.#database
      .prepare('SELECT * FROM certificates WHERE fingerprint = ? AND revokedAt IS NULL')
      .get(fingerprint) as CertificateRow | undefined;
  }

  ofUnit(systemId: string): CertificateRow[] {
    return this.#database
      .prepare('SELECT * FROM certificates WHERE systemId = ? ORDER BY issuedAt, rowid')
      .all(systemId) as unknown as CertificateRow[];
  }

  /** Notes that the unit uses a certificate; the serial is compared without regard to case. */
  setInstalled(systemId: string, serial: string, now: Date): void {
    this.#database
      .prepare('UPDATE certificates SET installedAt = ? WHERE systemId = ? AND serial = ?')
      .run(now.toISOString(), systemId, serial.toLowerCase());
  }

  /** Revokes all certificates of a unit, or of one of its nodes. */
  revoke(systemId: string, nodeId: string | undefined, now: Date): void {
    const where = nodeId === undefined ? '' : ' AND nodeId = ?';
    this.#database
      .prepare(`UPDATE certificates SET revokedAt = ? WHERE systemId = ? AND revokedAt IS NULL${where}`)
      .run(now.toISOString(), systemId, ...(nodeId === undefined ? [] : [nodeId]));
  }
}

/** Certificates that this cloud has issued: only those in this list, and not revoked, open a door. */
import type { IssuedCertificate } from '../pki/authority.ts';
import type { Sql } from './sql.ts';

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

const COLUMNS =
  'fingerprint, serial, role, systemId, nodeId, type, notAfter, issuedAt, installedAt, revokedAt, userName';

export class CertificateStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async addOperator(fingerprint: string, serial: string, notAfter: Date, now: Date, userName?: string): Promise<void> {
    await this.#sql.run(
      `INSERT INTO certificates (fingerprint, serial, role, notAfter, issuedAt, userName)
         VALUES (?, ?, 'operator', ?, ?, ?) ON CONFLICT DO NOTHING`,
      fingerprint,
      serial,
      notAfter.toISOString(),
      now.toISOString(),
      userName ?? null,
    );
  }

  /** Revokes all certificates of a user. */
  async revokeOfUser(userName: string, now: Date): Promise<void> {
    await this.#sql.run(
      'UPDATE certificates SET revokedAt = ? WHERE userName = ? AND revokedAt IS NULL',
      now.toISOString(),
      userName,
    );
  }

  /** Certificates of all units, or of one, that are in use and end before a time; the first to end comes first. */
  async endingBefore(time: Date, systemId?: string): Promise<CertificateRow[]> {
    const ofUnit = systemId === undefined ? '' : 'AND systemId = ?';
    const rows = await this.#sql.all<CertificateRow>(
      `SELECT ${COLUMNS} FROM certificates WHERE role = 'unit' AND revokedAt IS NULL ${ofUnit} ORDER BY issuedAt DESC, rowid DESC`,
      ...(systemId === undefined ? [] : [systemId]),
    );
    const newest = new Map<string, CertificateRow>();
    for (const row of rows) {
      const place = JSON.stringify([row.systemId, row.nodeId, row.type]);
      if (!newest.has(place)) newest.set(place, row);
    }
    return [...newest.values()]
      .filter(({ notAfter }) => notAfter < time.toISOString())
      .sort((a, b) => (a.notAfter < b.notAfter ? -1 : 1));
  }

  async addForUnit(issued: IssuedCertificate, owner: CertificateOwner, now: Date): Promise<void> {
    const { fingerprint, serial, notAfter } = issued;
    await this.#sql.run(
      `INSERT INTO certificates (fingerprint, serial, role, systemId, nodeId, type, notAfter, issuedAt)
         VALUES (?, ?, 'unit', ?, ?, ?, ?, ?)`,
      ...[fingerprint, serial, owner.systemId, owner.nodeId, owner.type],
      ...[notAfter.toISOString(), now.toISOString()],
    );
  }

  /** The certificate, unless it is unknown or revoked. */
  find(fingerprint: string): Promise<CertificateRow | undefined> {
    return this.#sql.get<CertificateRow>(
      `SELECT ${COLUMNS} FROM certificates WHERE fingerprint = ? AND revokedAt IS NULL`,
      fingerprint,
    );
  }

  ofUnit(systemId: string): Promise<CertificateRow[]> {
    return this.#sql.all<CertificateRow>(
      `SELECT ${COLUMNS} FROM certificates WHERE systemId = ? ORDER BY issuedAt, rowid`,
      systemId,
    );
  }

  /** Notes that the unit uses a certificate; the serial is compared without regard to case. */
  async setInstalled(systemId: string, serial: string, now: Date): Promise<void> {
    await this.#sql.run(
      'UPDATE certificates SET installedAt = ? WHERE systemId = ? AND serial = ?',
      now.toISOString(),
      systemId,
      serial.toLowerCase(),
    );
  }

  /** Revokes all certificates of a unit, or of one of its nodes. */
  async revoke(systemId: string, nodeId: string | undefined, now: Date): Promise<void> {
    const where = nodeId === undefined ? '' : ' AND nodeId = ?';
    await this.#sql.run(
      `UPDATE certificates SET revokedAt = ? WHERE systemId = ? AND revokedAt IS NULL${where}`,
      now.toISOString(),
      systemId,
      ...(nodeId === undefined ? [] : [nodeId]),
    );
  }
}

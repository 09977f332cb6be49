/** What units have measured (spec/cloud-protocol.md 8.7), bounded by age and by number. */
import { type MonitoringData, type MonitoringSample, timeOf } from '../../protocol/index.ts';
import type { Sql } from './sql.ts';
import type { UnitCounter } from './unit-counter.ts';

export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** DMIPS. */
  readonly cpu: number;
  /** Bytes. */
  readonly ram: number;
  /** Bytes since the start of the day. */
  readonly download: number;
  readonly upload: number;
  /** Bytes used. */
  readonly partitions: Readonly<Record<string, number>>;
}

export interface SampleLimits {
  readonly maxAgeMs: number;
  /** Of one unit. */
  readonly maxCount: number;
}

type Row = Omit<Sample, 'partitions'> & { readonly partitions: string };

export class SampleStore {
  readonly #sql: Sql;
  readonly #limits: SampleLimits;
  readonly #counter: UnitCounter;

  constructor(sql: Sql, limits: SampleLimits, counter: UnitCounter) {
    this.#sql = sql;
    this.#limits = limits;
    this.#counter = counter;
  }

  /** Adds what a message carries; the same sample again changes nothing. */
  async add(systemId: string, { nodes, instances = [] }: MonitoringData, now: Date): Promise<void> {
    for (const { node, items } of nodes) {
      for (const sample of items) await this.#put(systemId, `node:${node.codename}`, sample);
    }
    for (const { item, subject, instance, items } of instances) {
      const name = [item, subject].map(({ id, codename }) => id ?? codename ?? '').join('/');
      for (const sample of items) await this.#put(systemId, `instance:${name}/${instance}`, sample);
    }
    if (this.#counter.isDue(systemId)) await this.trim(systemId, now);
  }

  async #put(systemId: string, series: string, sample: MonitoringSample): Promise<void> {
    const { timestamp, cpu, ram, download, upload, partitions = [] } = sample;
    const used = Object.fromEntries(partitions.map(({ name, usedSize }) => [name, usedSize]));
    await this.#sql.run(
      `INSERT INTO samples (systemId, series, at, cpu, ram, download, upload, partitions)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId, series, at) DO UPDATE SET
           cpu = excluded.cpu, ram = excluded.ram, download = excluded.download, upload = excluded.upload,
           partitions = excluded.partitions`,
      ...[systemId, series, timeOf(timestamp).getTime(), cpu, ram, download, upload, JSON.stringify(used)],
    );
  }

  /** The series of a unit that have samples. */
  async series(systemId: string): Promise<string[]> {
    const rows = await this.#sql.all<{ series: string }>(
      'SELECT DISTINCT series FROM samples WHERE systemId = ? ORDER BY series DESC',
      systemId,
    );
    return rows.map(({ series }) => series);
  }

  /** Samples from one time to another, the oldest first. */
  async between(systemId: string, series: string, fromMs: number, tillMs: number): Promise<Sample[]> {
    const rows = await this.#sql.all<Row>(
      `SELECT at, cpu, ram, download, upload, partitions FROM samples
         WHERE systemId = ? AND series = ? AND at >= ? AND at <= ? ORDER BY at`,
      systemId,
      series,
      fromMs,
      tillMs,
    );
    return rows.map(({ partitions, ...row }) => ({
      ...row,
      partitions: JSON.parse(partitions) as Sample['partitions'],
    }));
  }

  /** Removes what is too old, and of the unit what is too much. */
  async trim(systemId: string, now: Date): Promise<void> {
    const { maxAgeMs, maxCount } = this.#limits;
    await this.#sql.run('DELETE FROM samples WHERE at < ?', now.getTime() - maxAgeMs);
    await this.#sql.run(
      `DELETE FROM samples WHERE systemId = ? AND at <
           (SELECT at FROM samples WHERE systemId = ? ORDER BY at DESC LIMIT 1 OFFSET ?)`,
      systemId,
      systemId,
      maxCount - 1,
    );
  }
}

/** What units have measured (spec/cloud-protocol.md 8.7), bounded by age and by number. */
import type { DatabaseSync } from 'node:sqlite';
import { type MonitoringData, type MonitoringSample, timeOf } from '../../protocol/index.ts';
import { UnitCounter } from './unit-counter.ts';

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

/** Old samples are looked for once in so many messages of a unit. */
const TRIM_EVERY = 50;

export class SampleStore {
  readonly #database: DatabaseSync;
  readonly #limits: SampleLimits;
  readonly #counter = new UnitCounter(TRIM_EVERY);

  constructor(database: DatabaseSync, limits: SampleLimits) {
    this.#database = database;
    this.#limits = limits;
  }

  /** Adds what a message carries; the same sample again changes nothing. */
  add(systemId: string, { nodes, instances = [] }: MonitoringData, now: Date): void {
    const insert = this.#database.prepare(
      `INSERT OR REPLACE INTO samples (systemId, series, at, cpu, ram, download, upload, partitions)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    const put = (series: string, { timestamp, cpu, ram, download, upload, partitions = [] }: MonitoringSample) => {
      const used = Object.fromEntries(partitions.map(({ name, usedSize }) => [name, usedSize]));
      insert.run(...[systemId, series, timeOf(timestamp).getTime(), cpu, ram, download, upload, JSON.stringify(used)]);
    };
    for (const { node, items } of nodes) for (const item of items) put(`node:${node.codename}`, item);
    for (const { item, subject, instance, items } of instances) {
      const name = [item, subject].map(({ id, codename }) => id ?? codename ?? '').join('/');
      for (const sample of items) put(`instance:${name}/${instance}`, sample);
    }
    if (this.#counter.isDue(systemId)) this.trim(systemId, now);
  }

  /** The series of a unit that have samples. */
  series(systemId: string): string[] {
    const rows = this.#database
      .prepare('SELECT DISTINCT series FROM samples WHERE systemId = ? ORDER BY series DESC')
      .all(systemId) as unknown as { series: string }[];
    return rows.map(({ series }) => series);
  }

  /** Samples from one time to another, the oldest first. */
  between(systemId: string, series: string, fromMs: number, tillMs: number): Sample[] {
    const rows = this.#database
      .prepare(
        `SELECT at, cpu, ram, download, upload, partitions FROM samples
         WHERE systemId = ? AND series = ? AND at >= ? AND at <= ? ORDER BY at`,
      )
      .all(systemId, series, fromMs, tillMs) as unknown as Row[];
    return rows.map(({ partitions, ...row }) => ({
      ...row,
      partitions: JSON.parse(partitions) as Sample['partitions'],
    }));
  }

  /** Removes what is too old, and of the unit what is too much. */
  trim(systemId: string, now: Date): void {
    const { maxAgeMs, maxCount } = this.#limits;
    this.#database.prepare('DELETE FROM samples WHERE at < ?').run(now.getTime() - maxAgeMs);
    this.#database
      .prepare(
        `DELETE FROM samples WHERE systemId = ? AND at <
           (SELECT at FROM samples WHERE systemId = ? ORDER BY at DESC LIMIT 1 OFFSET ?)`,
      )
      .run(systemId, systemId, maxCount - 1);
  }
}

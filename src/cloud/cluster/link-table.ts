/** Which processes there are, and whose link each of them holds: the truth, in the database. Its clock is the only one. */
import type { Sql } from '../store/sql.ts';
import { CHANNEL } from './bulletin.ts';
import { type Note, toText } from './notes.ts';

export interface DeadProcess {
  readonly id: string;
  /** Units whose links it held. */
  readonly units: readonly string[];
}

/** What one process does in the tables; each call is a part of a transaction. */
export class LinkTable {
  readonly #process: string;
  readonly #leaseSeconds: number;

  constructor(process: string, leaseMs: number) {
    this.#process = process;
    this.#leaseSeconds = leaseMs / 1000;
  }

  /** Answers whether no other process is alive. */
  async join(sql: Sql): Promise<boolean> {
    const other = await sql.get('SELECT 1 FROM processes WHERE aliveTill >= clock_timestamp() LIMIT 1');
    await sql.run(
      'INSERT INTO processes (id, aliveTill) VALUES (?, clock_timestamp() + make_interval(secs => ?))',
      ...[this.#process, this.#leaseSeconds],
    );
    return other === undefined;
  }

  async leave(sql: Sql): Promise<void> {
    await sql.run('DELETE FROM processes WHERE id = ?', this.#process);
    await this.#notify(sql, { kind: 'left' });
  }

  /** False when others took this process for dead, and its links are not its own any more. */
  async renew(sql: Sql): Promise<boolean> {
    const changed = await sql.run(
      'UPDATE processes SET aliveTill = clock_timestamp() + make_interval(secs => ?) WHERE id = ?',
      ...[this.#leaseSeconds, this.#process],
    );
    return changed === 1;
  }

  async removeDead(sql: Sql): Promise<DeadProcess[]> {
    const dead: DeadProcess[] = [];
    const late = await sql.all<{ id: string }>('SELECT id FROM processes WHERE aliveTill < clock_timestamp()');
    for (const { id } of late) {
      const links = await sql.all<{ systemId: string }>('SELECT systemId FROM links WHERE process = ?', id);
      await sql.run('DELETE FROM processes WHERE id = ?', id);
      dead.push({ id, units: links.map(({ systemId }) => systemId) });
    }
    if (dead.length > 0) await this.#notify(sql, { kind: 'gone', processes: dead.map(({ id }) => id) });
    return dead;
  }

  /** Takes the link of a unit, unless another process than `silent` holds it: then it answers that one. */
  async claim(sql: Sql, systemId: string, hold: string, silent?: string): Promise<string | undefined> {
    const held = await sql.get<{ process: string }>('SELECT process FROM links WHERE systemId = ?', systemId);
    if (held && held.process !== this.#process && held.process !== silent) return held.process;
    await sql.run(
      `INSERT INTO links (systemId, process, hold) VALUES (?, ?, ?)
       ON CONFLICT (systemId) DO UPDATE SET process = excluded.process, hold = excluded.hold, since = clock_timestamp()`,
      ...[systemId, this.#process, hold],
    );
    await this.#notify(sql, { kind: 'up', systemId });
    return undefined;
  }

  async release(sql: Sql, systemId: string, hold: string): Promise<void> {
    const changed = await sql.run('DELETE FROM links WHERE systemId = ? AND hold = ?', systemId, hold);
    if (changed > 0) await this.#notify(sql, { kind: 'down', systemId });
  }

  mine(sql: Sql): Promise<{ systemId: string; hold: string }[]> {
    return sql.all('SELECT systemId, hold FROM links WHERE process = ?', this.#process);
  }

  /** Who holds the links that this process does not. */
  async others(sql: Sql): Promise<Map<string, string>> {
    const rows = await sql.all<{ systemId: string; process: string }>(
      'SELECT systemId, process FROM links WHERE process <> ?',
      this.#process,
    );
    return new Map(rows.map(({ systemId, process }) => [systemId, process]));
  }

  /** Heard by the others when the transaction is committed, and not otherwise. */
  async #notify(sql: Sql, note: Note): Promise<void> {
    await sql.run('SELECT pg_notify(?, ?)', CHANNEL, toText({ from: this.#process, note }));
  }
}

/** A database as the stores of a cloud see it: visible transactions, and nothing that answers at once. */

export type SqlValue = string | number | null | Uint8Array;

/**
 * One transaction; it is over when the body that it was given to ends.
 *
 * Placeholders are `?`. Names are as in the SQL (camelCase), also on PostgreSQL.
 */
export interface Sql {
  readonly dialect: 'sqlite' | 'postgresql';
  all<Row>(sql: string, ...values: SqlValue[]): Promise<Row[]>;
  get<Row>(sql: string, ...values: SqlValue[]): Promise<Row | undefined>;
  /** Number of rows changed. */
  run(sql: string, ...values: SqlValue[]): Promise<number>;
}

export interface SqlDatabase {
  /** So many writes that have nothing to do with each other go best in one transaction; absent: all that there are. */
  readonly bestTogether?: number;
  /** A snapshot; nothing is written. */
  read<T>(body: (sql: Sql) => Promise<T>): Promise<T>;
  /**
   * All or nothing, durable when it resolves.
   *
   * The body may run more than once: only the database may be touched in it. Sending and publishing come after.
   */
  write<T>(body: (sql: Sql) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

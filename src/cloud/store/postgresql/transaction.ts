/** One transaction on one connection, as the stores see it. */
import type { ClientBase, QueryResult } from 'pg';
import { AosError } from '../../../core/index.ts';
import type { Sql, SqlValue } from '../sql.ts';
import { isWorthAnotherTry, kindOf } from './failures.ts';
import { toPostgres } from './translate.ts';

/** As many texts of statements are remembered in PostgreSQL's words; the stores have some hundred. */
const REMEMBERED = 1000;
/** PostgreSQL stores no NUL in a text; a unit that sends one is to be heard all the same. */
const NUL = /\0/g;

export class Statements {
  readonly #known = new Map<string, string>();

  translate(sql: string): string {
    const known = this.#known.get(sql);
    if (known !== undefined) return known;
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    const text = toPostgres(sql);
    this.#known.set(sql, text);
    return text;
  }
}

const toParameter = (value: SqlValue): SqlValue => (typeof value === 'string' ? value.replace(NUL, '\ufffd') : value);

export class Transaction implements Sql {
  readonly dialect = 'postgresql';
  readonly #client: ClientBase;
  readonly #statements: Statements;
  readonly #attempt: number;
  /** The last statement: one connection takes one at a time. */
  #last: Promise<unknown> = Promise.resolve();
  #isOver = false;
  /** Why nothing of this transaction can stay, whatever its body makes of it. */
  #doom: unknown;
  /** Of a statement that PostgreSQL refuses all later ones for. */
  #cause: unknown;

  constructor(client: ClientBase, statements: Statements, attempt: number) {
    this.#client = client;
    this.#statements = statements;
    this.#attempt = attempt;
  }

  async all<Row>(sql: string, ...values: SqlValue[]): Promise<Row[]> {
    return (await this.#query(sql, values)).rows as Row[];
  }

  async get<Row>(sql: string, ...values: SqlValue[]): Promise<Row | undefined> {
    return (await this.#query(sql, values)).rows[0] as Row | undefined;
  }

  async run(sql: string, ...values: SqlValue[]): Promise<number> {
    return (await this.#query(sql, values)).rowCount ?? 0;
  }

  /** Refuses what comes later, and waits for what is under way. Throws when nothing of the transaction can stay. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#last;
    if (this.#doom !== undefined) throw this.#doom;
  }

  /** Why it failed: what PostgreSQL said first, rather than what a body made of it. */
  failureOf(error: unknown): unknown {
    return this.#doom ?? error;
  }

  #query(sql: string, values: readonly SqlValue[]): Promise<QueryResult> {
    if (this.#isOver) throw new AosError('wrongState', 'the transaction is over; a statement came too late');
    const result = this.#last.then(() => this.#send(sql, values));
    // Whoever has asked hears of the failure; the next statement waits for its end only.
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #send(sql: string, values: readonly SqlValue[]): Promise<QueryResult> {
    if (this.#doom !== undefined) throw this.#doom;
    try {
      return await this.#client.query(this.#statements.translate(sql), values.map(toParameter));
    } catch (error) {
      const kind = kindOf(error);
      if (kind === 'aborted' && this.#cause !== undefined) throw this.#cause;
      if (kind === 'unreachable' || isWorthAnotherTry(kind, this.#attempt)) this.#doom = error;
      this.#cause = error;
      throw error;
    }
  }
}

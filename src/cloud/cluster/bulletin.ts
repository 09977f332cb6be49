/** Notes from process to process, by LISTEN and NOTIFY on a connection of its own, which is made anew when it breaks. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { asAosError, type Logger } from '../../core/index.ts';
import { kindOf } from '../store/postgresql/failures.ts';
import type { PostgresDatabase } from '../store/postgresql/postgres-database.ts';
import { type Envelope, fromText, type Note, toText } from './notes.ts';

export const CHANNEL = 'aos_cloud';

/** PostgreSQL takes 8000 bytes; what is larger goes through a table. */
const MAX_NOTE_BYTES = 7900;
/** Notes that wait for a database that is gone. What is lost is caught up with when it is back. */
const MAX_WAITING = 10_000;
const RECONNECT_MS = 500;
/** So long may the server take for a word. */
const ANSWER_MS = 10_000;

export interface BulletinParts {
  readonly database: PostgresDatabase;
  /** Name of this process. */
  readonly process: string;
  /** A note of another process. */
  readonly onNote: (envelope: Envelope) => void;
  /** The connection is there, for the first time or again: notes may have been missed. */
  readonly onConnected: () => Promise<void>;
  readonly logger: Logger;
}

export class Bulletin {
  readonly #parts: BulletinParts;
  #client: Client | undefined;
  #isStopped = false;
  readonly #waiting: string[] = [];
  /** The note that the server did not answer for in time; a second time it is the note. */
  #unanswered: string | undefined;
  #sending: Promise<void> | undefined;
  #reconnecting: Promise<void> | undefined;
  #received: Promise<void> = Promise.resolve();

  constructor(parts: BulletinParts) {
    this.#parts = parts;
  }

  /** Listens. Throws when the database cannot be reached. */
  async start(): Promise<void> {
    await this.#connect();
  }

  /** Tells all others, soon; nobody waits for it. */
  tell(note: Note): void {
    if (this.#isStopped) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#parts.logger.warn(
        { kind: note.kind },
        'other processes could not be told: the database is gone for too long',
      );
      return;
    }
    this.#waiting.push(toText({ from: this.#parts.process, note }));
    this.#sendSoon();
  }

  /** A connection that says nothing is given up: a network that is cut tells nobody. */
  async check(): Promise<void> {
    const client = this.#client;
    if (!client) return;
    try {
      await client.query('SELECT 1');
    } catch {
      // Why is said when it is made anew.
      this.#giveUp(client);
    }
  }

  async stop(): Promise<void> {
    // What has happened is told before.
    await this.#sending;
    this.#isStopped = true;
    await this.#reconnecting;
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
    await this.#received;
  }

  async #connect(): Promise<void> {
    const client = await this.#parts.database.connect(ANSWER_MS);
    client.on('notification', ({ payload = '' }) => this.#receive(payload));
    // The end comes after an error, and without one.
    client.on('error', (error) =>
      this.#parts.logger.debug({ error: error.message }, 'the notes of processes broke off'),
    );
    client.on('end', () => this.#lost(client));
    try {
      await client.query(`LISTEN ${CHANNEL}`);
      this.#client = client;
      await this.#caughtUp();
    } catch (error) {
      this.#client = undefined;
      // Why it could not be used is in the error that is thrown.
      await client.end().catch(() => undefined);
      throw error;
    }
    this.#sendSoon();
  }

  /** What is heard from now on is newer than what is caught up with, and so waits. */
  #caughtUp(): Promise<void> {
    const done = this.#received.then(() => this.#parts.onConnected());
    // Whoever connects hears of the failure.
    this.#received = done.catch(() => undefined);
    return done;
  }

  #giveUp(client: Client): void {
    // It is given up: whether it still says goodbye does not matter.
    client.end().catch(() => undefined);
    this.#lost(client);
  }

  #lost(client: Client): void {
    if (this.#isStopped || this.#client !== client) return;
    this.#client = undefined;
    this.#parts.logger.warn({}, 'the connection for notes of other processes is lost; it is made anew');
    this.#reconnecting ??= this.#reconnect().finally(() => {
      this.#reconnecting = undefined;
    });
  }

  async #reconnect(): Promise<void> {
    while (!this.#isStopped && this.#client === undefined) {
      try {
        await this.#connect();
        this.#parts.logger.info({}, 'other processes can be heard again');
      } catch (error) {
        this.#parts.logger.debug({ error: asAosError(error).message }, 'other processes cannot be heard yet');
        await delay(RECONNECT_MS);
      }
    }
  }

  #sendSoon(): void {
    if (!this.#client || this.#waiting.length === 0) return;
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  async #send(): Promise<void> {
    while (this.#client && this.#waiting.length > 0) {
      const client: Client = this.#client;
      const text = this.#waiting[0]!;
      try {
        await this.#post(client, text);
        this.#waiting.shift();
        this.#unanswered = undefined;
      } catch (error) {
        // On the next connection again: whether it was told is not known, and twice does no harm.
        if (this.#client !== client) break;
        if (kindOf(error) === 'unreachable' && this.#unanswered !== text) {
          this.#unanswered = text;
          this.#giveUp(client);
        } else {
          // This very note: another try would be no better.
          this.#waiting.shift();
          this.#parts.logger.warn({ error: asAosError(error).message }, 'other processes could not be told');
        }
      }
    }
  }

  async #post(client: Client, text: string): Promise<void> {
    if (Buffer.byteLength(text) <= MAX_NOTE_BYTES) {
      await client.query('SELECT pg_notify($1, $2)', [CHANNEL, text]);
      return;
    }
    await client.query(
      `WITH letter AS (INSERT INTO letters (content) VALUES ($2) RETURNING id)
       SELECT pg_notify($1, json_build_object('letter', id)::text) FROM letter`,
      [CHANNEL, text],
    );
  }

  /** One after the other: what is fetched from the table is not overtaken. */
  #receive(text: string): void {
    this.#received = this.#received
      .then(async () => {
        const said = fromText(text);
        const letter = said && 'letter' in said ? fromText(await this.#letter(said.letter)) : said;
        if (letter && !('letter' in letter)) this.#hear(letter);
      })
      .catch((error) =>
        this.#parts.logger.warn({ error: asAosError(error).message }, 'a letter of another process was not read'),
      );
  }

  async #letter(id: number): Promise<string> {
    const row = await this.#parts.database.read((sql) =>
      sql.get<{ content: string }>('SELECT content FROM letters WHERE id = ?', id),
    );
    return row?.content ?? '';
  }

  #hear(envelope: Envelope): void {
    const { process, onNote, logger } = this.#parts;
    const { from, note } = envelope;
    if (from === process || ('to' in note && note.to !== process)) return;
    try {
      onNote(envelope);
    } catch (error) {
      logger.error({ kind: note.kind, error: asAosError(error).message }, 'a note of another process was not followed');
    }
  }
}

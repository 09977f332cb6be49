/** The processes of a cloud that share a database in PostgreSQL. */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { UnitEvent } from '../model/unit-events.ts';
import { GroupCommit } from '../store/group-commit.ts';
import { ADVISORY_LOCKS } from '../store/postgresql/advisory-locks.ts';
import type { PostgresDatabase } from '../store/postgresql/postgres-database.ts';
import { Bulletin } from './bulletin.ts';
import type { Cluster, Hold, Member, Order } from './cluster.ts';
import { LinkTable } from './link-table.ts';
import type { Envelope, Note } from './notes.ts';
import { Questions } from './questions.ts';

export interface PostgresClusterParts {
  readonly database: PostgresDatabase;
  readonly logger: Logger;
  /** A process that says nothing for so long is taken for dead; it says so three times in that time. */
  readonly leaseMs?: number;
}

const LEASE_MS = 30_000;
const BEATS_PER_LEASE = 3;
/** Letters are read at once, or never. */
const LETTER_MINUTES = 1;
/** On top of what a process is given to ask a unit: the way there and back. */
const SLACK_MS = 2000;
const ORDER_MS = 5000;
/** A unit that comes to many processes at once. */
const MAX_CLAIMS = 5;

export class PostgresCluster implements Cluster {
  readonly isShared = true;
  /** Name of this process. */
  readonly id = randomUUID();
  readonly #parts: PostgresClusterParts;
  readonly #leaseMs: number;
  readonly #group: GroupCommit;
  readonly #table: LinkTable;
  readonly #bulletin: Bulletin;
  readonly #questions = new Questions();
  /** Who holds the links that this process does not; follows the table. */
  #elsewhere = new Map<string, string>();
  readonly #holds = new Set<string>();
  #events: UnitEvent[] = [];
  #member: Member | undefined;
  #wasAlone = false;
  #lastBeatMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;

  private constructor(parts: PostgresClusterParts) {
    const { database, logger, leaseMs = LEASE_MS } = parts;
    this.#parts = parts;
    this.#leaseMs = leaseMs;
    this.#group = new GroupCommit(database, logger);
    this.#table = new LinkTable(this.id, leaseMs);
    this.#bulletin = new Bulletin({
      ...{ database, logger, process: this.id },
      onNote: (envelope) => this.#hear(envelope),
      onConnected: () => this.#catchUp(),
    });
  }

  /** Joins the other processes; nothing is heard of them yet. */
  static async open(parts: PostgresClusterParts): Promise<PostgresCluster> {
    const cluster = new PostgresCluster(parts);
    cluster.#wasAlone = await parts.database.write((sql) => cluster.#table.join(sql));
    cluster.#lastBeatMs = performance.now();
    cluster.#timer = setInterval(() => cluster.#beatSoon(), cluster.#leaseMs / BEATS_PER_LEASE);
    return cluster;
  }

  get wasAlone(): boolean {
    return this.#wasAlone;
  }

  async start(member: Member): Promise<void> {
    this.#member = member;
    await this.#bulletin.start();
  }

  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    // The lock goes with the connection, however this process ends.
    const client = await this.#parts.database.connect();
    try {
      await client.query('SELECT pg_advisory_lock($1, $2)', [...ADVISORY_LOCKS.authority]);
      return await work();
    } finally {
      await client.end();
    }
  }

  async claim(systemId: string, probeMs: number): Promise<Hold | undefined> {
    const hold = randomUUID();
    this.#holds.add(hold);
    try {
      if (await this.#take(systemId, hold, probeMs)) return { release: () => this.#release(systemId, hold) };
    } catch (error) {
      this.#holds.delete(hold);
      throw error;
    }
    this.#holds.delete(hold);
    return undefined;
  }

  isElsewhere(systemId: string): boolean {
    return this.#elsewhere.has(systemId);
  }

  tell(systemId: string, order: Order): void {
    this.#bulletin.tell({ kind: 'tell', systemId, order });
  }

  async order(systemId: string, order: Order): Promise<void> {
    const holder = this.#elsewhere.get(systemId);
    if (holder === undefined) throw new AosError('wrongState', `unit ${systemId} is offline`);
    const { yes, because } = await this.#ask({ kind: 'order', to: holder, systemId, order }, ORDER_MS);
    if (!yes) throw new AosError('wrongState', because);
  }

  /** All that happens in one round of the event loop is told together. */
  publish(event: UnitEvent): void {
    this.#events.push(event);
    if (this.#events.length > 1) return;
    setImmediate(() => {
      this.#bulletin.tell({ kind: 'events', events: this.#events });
      this.#events = [];
    });
  }

  accessChanged(): void {
    this.#bulletin.tell({ kind: 'access' });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating;
    await this.#group.flush();
    await this.#bulletin.stop();
    this.#questions.stop();
    try {
      await this.#parts.database.write((sql) => this.#table.leave(sql));
    } catch (error) {
      // The others find out by themselves.
      this.#parts.logger.warn(
        { error: asAosError(error).message },
        'this process could not take its leave of the others',
      );
    }
  }

  async #take(systemId: string, hold: string, probeMs: number): Promise<boolean> {
    let silent: string | undefined;
    for (let attempt = 0; attempt < MAX_CLAIMS; attempt += 1) {
      const holder = await this.#group.run((sql) => this.#table.claim(sql, systemId, hold, silent));
      if (holder === undefined) {
        this.#elsewhere.delete(systemId);
        return true;
      }
      const { yes } = await this.#ask({ kind: 'probe', to: holder, systemId, probeMs }, probeMs + SLACK_MS);
      if (yes) return false;
      silent = holder;
    }
    return false;
  }

  #release(systemId: string, hold: string): void {
    this.#holds.delete(hold);
    this.#group.note('the end of a link', (sql) => this.#table.release(sql, systemId, hold));
  }

  #beatSoon(): void {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
  }

  async #beat(): Promise<void> {
    const { database, logger } = this.#parts;
    // Should it have broken off without a word.
    await this.#bulletin.check();
    try {
      const wasInTime = performance.now() - this.#lastBeatMs < this.#leaseMs;
      const isKnown = await database.write((sql) => this.#table.renew(sql));
      if (!isKnown) {
        logger.warn({}, 'other processes took this one for dead; its units come again');
        await database.write((sql) => this.#table.join(sql));
        this.#member?.lose('all');
      }
      this.#lastBeatMs = performance.now();
      // After a standstill of the database others have had no time to say that they live.
      if (isKnown && wasInTime) await this.#bury();
    } catch (error) {
      logger.warn({ error: asAosError(error).message }, 'this process could not say that it lives');
    }
  }

  async #bury(): Promise<void> {
    const { database, logger } = this.#parts;
    const dead = await database.write(async (sql) => {
      await sql.run('DELETE FROM letters WHERE at < clock_timestamp() - make_interval(mins => ?)', LETTER_MINUTES);
      return this.#table.removeDead(sql);
    });
    if (dead.length === 0) return;
    for (const { id, units } of dead) {
      logger.warn({ process: id, units: units.length }, 'another process of this cloud is gone');
      this.#member?.orphan(units);
    }
    this.#outlive(dead.map(({ id }) => id));
  }

  /** What one that is dead wanted to tell is not known: units here are told again. */
  #outlive(processes: readonly string[]): void {
    this.#forget(processes);
    this.#member?.catchUp();
  }

  #forget(processes: readonly string[]): void {
    for (const [systemId, process] of this.#elsewhere)
      if (processes.includes(process)) this.#elsewhere.delete(systemId);
  }

  async #catchUp(): Promise<void> {
    const [mine, elsewhere] = await this.#parts.database.read(
      async (sql) => [await this.#table.mine(sql), await this.#table.others(sql)] as const,
    );
    // Their end could not be noted when it came.
    for (const { systemId, hold } of mine) if (!this.#holds.has(hold)) this.#release(systemId, hold);
    this.#elsewhere = elsewhere;
    this.#member?.lose([...this.#elsewhere.keys()]);
    this.#member?.catchUp();
  }

  #hear({ from, note }: Envelope): void {
    const member = this.#member;
    if (!member) return;
    switch (note.kind) {
      case 'events':
        for (const event of note.events) member.hear(event);
        break;
      case 'access':
        member.accessChanged();
        break;
      case 'up':
        this.#elsewhere.set(note.systemId, from);
        member.lose([note.systemId]);
        break;
      case 'down':
        if (this.#elsewhere.get(note.systemId) === from) this.#elsewhere.delete(note.systemId);
        break;
      case 'left':
        this.#forget([from]);
        break;
      case 'gone':
        this.#outlive(note.processes);
        break;
      case 'probe':
        this.#answer(from, note.question, member.isAlive(note.systemId, note.probeMs));
        break;
      case 'tell':
        member.obey(note.systemId, note.order).catch((error) => {
          const { logger } = this.#parts;
          // Most processes have no link of the unit, and nothing to do.
          logger.debug(
            { systemId: note.systemId, error: asAosError(error).message },
            'nothing was done for another process',
          );
        });
        break;
      case 'order':
        this.#answer(...([from, note.question, member.obey(note.systemId, note.order).then(() => true)] as const));
        break;
      case 'answer':
        this.#questions.settle(note.question, note);
        break;
    }
  }

  #answer(to: string, question: string, work: Promise<boolean>): void {
    work.then(
      (yes) => this.#bulletin.tell({ kind: 'answer', to, question, yes, because: '' }),
      (error) => this.#bulletin.tell({ kind: 'answer', to, question, yes: false, because: asAosError(error).message }),
    );
  }

  #ask(note: Asked, timeoutMs: number): Promise<{ readonly yes: boolean; readonly because: string }> {
    return this.#questions.ask(timeoutMs, (question) => this.#bulletin.tell({ ...note, question } as Note));
  }
}

type WithoutQuestion<T> = T extends { readonly question: string } ? Omit<T, 'question'> : never;
/** What is answered. */
type Asked = WithoutQuestion<Extract<Note, { kind: 'probe' | 'order' }>>;

/** People and programs that work with the cloud, and the tokens that stand for them. */
import { createHash, randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import type { Actor, Role } from '../access/roles.ts';

/** `login` opens a session once, `session` is a browser's cookie, `bearer` is for programs. */
export type TokenKind = 'login' | 'session' | 'bearer';

export interface UserRow extends Actor {
  readonly createdAt: string;
}

/** Whom certificates without a name stand for. */
export const FIRST_USER = 'operator';

const TOKEN_BYTES = 32;
/** Tokens of one kind that a user may have; the oldest goes first. */
const TOKENS_PER_KIND = 50;

const hashOf = (token: string) => createHash('sha256').update(token).digest('hex');

export class UserStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): UserRow[] {
    return this.#database.prepare('SELECT * FROM users ORDER BY name').all() as unknown as UserRow[];
  }

  find(name: string): UserRow | undefined {
    return this.#database.prepare('SELECT * FROM users WHERE name = ?').get(name) as UserRow | undefined;
  }

  /** Throws `notFound`. */
  get(name: string): UserRow {
    const user = this.find(name);
    if (!user) throw new AosError('notFound', `there is no user "${name}"; "aosctl users" lists all`);
    return user;
  }

  put(name: string, role: Role, scope: string, now: Date): void {
    this.#database
      .prepare(
        `INSERT INTO users (name, role, scope, createdAt) VALUES (?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, scope = excluded.scope`,
      )
      .run(name, role, scope, now.toISOString());
  }

  delete(name: string): void {
    this.#database.prepare('DELETE FROM users WHERE name = ?').run(name);
  }

  /** A new token; only its hash is kept. */
  newToken(userName: string, kind: TokenKind, lifetimeMs: number, now: Date): string {
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    this.#database.prepare('DELETE FROM accessTokens WHERE expiresAt <= ?').run(now.toISOString());
    this.#database
      .prepare('INSERT INTO accessTokens (hash, userName, kind, expiresAt) VALUES (?, ?, ?, ?)')
      .run(hashOf(token), userName, kind, new Date(now.getTime() + lifetimeMs).toISOString());
    this.#database
      .prepare(
        `DELETE FROM accessTokens WHERE userName = ? AND kind = ? AND hash NOT IN
           (SELECT hash FROM accessTokens WHERE userName = ? AND kind = ? ORDER BY expiresAt DESC, rowid DESC LIMIT ?)`,
      )
      .run(userName, kind, userName, kind, TOKENS_PER_KIND);
    return token;
  }

  /** The user of a token, while it is valid. */
  ofToken(token: string, kind: TokenKind, now: Date): UserRow | undefined {
    return this.#database
      .prepare(
        `SELECT users.* FROM accessTokens JOIN users ON users.name = accessTokens.userName
         WHERE hash = ? AND kind = ? AND expiresAt > ?`,
      )
      .get(hashOf(token), kind, now.toISOString()) as UserRow | undefined;
  }

  /** As `ofToken`, and the token is of no use any more. */
  takeToken(token: string, kind: TokenKind, now: Date): UserRow | undefined {
    const user = this.ofToken(token, kind, now);
    const { changes } = this.#database.prepare('DELETE FROM accessTokens WHERE hash = ?').run(hashOf(token));
    return changes > 0 ? user : undefined;
  }
}

/** People and programs that work with the cloud, and the tokens that stand for them. */
import { createHash, randomBytes } from 'node:crypto';
import { AosError } from '../../core/index.ts';
import type { Actor, Caller, Role } from '../access/roles.ts';
import type { Sql } from './sql.ts';

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
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  list(): Promise<UserRow[]> {
    return this.#sql.all<UserRow>('SELECT * FROM users ORDER BY name');
  }

  find(name: string): Promise<UserRow | undefined> {
    return this.#sql.get<UserRow>('SELECT * FROM users WHERE name = ?', name);
  }

  /** Throws `notFound`. */
  async get(name: string): Promise<UserRow> {
    const user = await this.find(name);
    if (!user) throw new AosError('notFound', `there is no user "${name}"; "aosctl users" lists all`);
    return user;
  }

  async put(name: string, role: Role, scope: string, now: Date): Promise<void> {
    await this.#sql.run(
      `INSERT INTO users (name, role, scope, createdAt) VALUES (?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, scope = excluded.scope`,
      name,
      role,
      scope,
      now.toISOString(),
    );
  }

  async delete(name: string): Promise<void> {
    await this.#sql.run('DELETE FROM users WHERE name = ?', name);
  }

  /** A new token; only its hash is kept. */
  async newToken(userName: string, kind: TokenKind, lifetimeMs: number, now: Date): Promise<string> {
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    await this.#sql.run('DELETE FROM accessTokens WHERE expiresAt <= ?', now.toISOString());
    await this.#sql.run(
      'INSERT INTO accessTokens (hash, userName, kind, expiresAt) VALUES (?, ?, ?, ?)',
      hashOf(token),
      userName,
      kind,
      new Date(now.getTime() + lifetimeMs).toISOString(),
    );
    await this.#sql.run(
      `DELETE FROM accessTokens WHERE userName = ? AND kind = ? AND hash NOT IN
           (SELECT hash FROM accessTokens WHERE userName = ? AND kind = ? ORDER BY expiresAt DESC, rowid DESC LIMIT ?)`,
      userName,
      kind,
      userName,
      kind,
      TOKENS_PER_KIND,
    );
    return token;
  }

  /** The user of a token, while it is valid. */
  ofToken(token: string, kind: TokenKind, now: Date): Promise<(UserRow & Required<Caller>) | undefined> {
    return this.#sql.get<UserRow & Required<Caller>>(
      `SELECT users.*, expiresAt FROM accessTokens JOIN users ON users.name = accessTokens.userName
         WHERE hash = ? AND kind = ? AND expiresAt > ?`,
      hashOf(token),
      kind,
      now.toISOString(),
    );
  }

  /** As `ofToken`, and the token is of no use any more. */
  async takeToken(token: string, kind: TokenKind, now: Date): Promise<UserRow | undefined> {
    const user = await this.ofToken(token, kind, now);
    const changes = await this.#sql.run('DELETE FROM accessTokens WHERE hash = ?', hashOf(token));
    return changes > 0 ? user : undefined;
  }
}

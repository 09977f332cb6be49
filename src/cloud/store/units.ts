/** Units: their registration, their picture, what is wanted of them beside items, and tokens for their links. */
import { createHash, randomBytes } from 'node:crypto';
import { AosError } from '../../core/index.ts';
import { EMPTY_PICTURE, type UnitPicture } from '../model/unit-picture.ts';
import type { Sql } from './sql.ts';

/** `new`: known, and its next registration is taken; `provisioned`: it has certificates. */
export type UnitStatusInCloud = 'new' | 'provisioned';

export interface UnitRow {
  readonly systemId: string;
  readonly status: UnitStatusInCloud;
  readonly modelName: string;
  readonly modelVersion: string;
  readonly provisionedAt: string;
  readonly lastSeen: string | null;
  /** '' for none. */
  readonly fleet: string;
}

export interface Registration {
  readonly systemId: string;
  readonly modelName: string;
  readonly modelVersion: string;
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
  readonly secureData: string;
  readonly requestDigest: string;
  readonly answer: unknown;
}

/** What an operator wants of a unit beside its items. */
export interface UnitWishes {
  readonly unitConfig?: Readonly<Record<string, unknown>> & { readonly version: string };
  readonly nodeStates: Readonly<Record<string, 'provisioned' | 'paused'>>;
  /** Items of `overrideEnvVars`. */
  readonly envVars?: readonly unknown[];
}

const SHOWN = 'systemId, status, modelName, modelVersion, provisionedAt, lastSeen, fleet';
/** A unit keeps its token over reconnects; it learns of a new one by discovery after a 401. */
const TOKEN_LIFETIME_MS = 30 * 86_400_000;
const TOKENS_PER_UNIT = 4;

const hashOf = (token: string) => createHash('sha256').update(token).digest('hex');

export class UnitStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  list(): Promise<UnitRow[]> {
    return this.#sql.all<UnitRow>(`SELECT ${SHOWN} FROM units ORDER BY systemId`);
  }

  find(systemId: string): Promise<UnitRow | undefined> {
    return this.#sql.get<UnitRow>(`SELECT ${SHOWN} FROM units WHERE systemId = ?`, systemId);
  }

  /** Throws `notFound`. */
  async get(systemId: string): Promise<UnitRow> {
    const unit = await this.find(systemId);
    if (!unit) throw new AosError('notFound', `there is no unit "${systemId}"; "aosctl units" lists all`);
    return unit;
  }

  async register(registration: Registration, now: Date): Promise<void> {
    const { systemId, modelName, modelVersion, nodes, secureData, requestDigest, answer } = registration;
    await this.#sql.run(
      `INSERT INTO units (systemId, status, modelName, modelVersion, nodes, secureData, registration, answer, provisionedAt)
         VALUES (?, 'provisioned', ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId) DO UPDATE SET
           status = excluded.status, modelName = excluded.modelName, modelVersion = excluded.modelVersion,
           nodes = excluded.nodes, secureData = excluded.secureData, registration = excluded.registration,
           answer = excluded.answer, provisionedAt = excluded.provisionedAt, picture = '{}'`,
      ...[systemId, modelName, modelVersion, JSON.stringify(nodes), secureData, requestDigest],
      ...[JSON.stringify(answer), now.toISOString()],
    );
  }

  /** The answer to this very registration, when it was made before. */
  async registrationAnswer(systemId: string, requestDigest: string): Promise<unknown> {
    const row = await this.#sql.get<{ answer: string }>(
      'SELECT answer FROM units WHERE systemId = ? AND registration = ?',
      systemId,
      requestDigest,
    );
    return row && JSON.parse(row.answer);
  }

  /** The next registration of the unit is taken; what is wanted of it stays. */
  async reset(systemId: string): Promise<void> {
    await this.#sql.run(
      `UPDATE units SET status = 'new', registration = '', answer = '{}', secureData = '{}' WHERE systemId = ?`,
      systemId,
    );
    await this.#sql.run('DELETE FROM tokens WHERE systemId = ?', systemId);
  }

  async delete(systemId: string): Promise<void> {
    await this.#sql.run('DELETE FROM units WHERE systemId = ?', systemId);
  }

  async setFleet(systemId: string, fleet: string): Promise<void> {
    await this.#sql.run('UPDATE units SET fleet = ? WHERE systemId = ?', fleet, systemId);
  }

  async setSeen(systemId: string, now: Date): Promise<void> {
    await this.#sql.run('UPDATE units SET lastSeen = ? WHERE systemId = ?', now.toISOString(), systemId);
  }

  async picture(systemId: string): Promise<UnitPicture> {
    const row = await this.#sql.get<{ picture: string }>('SELECT picture FROM units WHERE systemId = ?', systemId);
    return row ? { ...EMPTY_PICTURE, ...(JSON.parse(row.picture) as Partial<UnitPicture>) } : EMPTY_PICTURE;
  }

  async setPicture(systemId: string, picture: UnitPicture): Promise<void> {
    await this.#sql.run('UPDATE units SET picture = ? WHERE systemId = ?', JSON.stringify(picture), systemId);
  }

  async wishes(systemId: string): Promise<UnitWishes> {
    const row = await this.#sql.get<{ unitConfig: string | null; envVars: string | null; nodeStates: string }>(
      'SELECT unitConfig, envVars, nodeStates FROM units WHERE systemId = ?',
      systemId,
    );
    return {
      nodeStates: row ? (JSON.parse(row.nodeStates) as UnitWishes['nodeStates']) : {},
      ...(row?.unitConfig && { unitConfig: JSON.parse(row.unitConfig) as NonNullable<UnitWishes['unitConfig']> }),
      ...(row?.envVars && { envVars: JSON.parse(row.envVars) as unknown[] }),
    };
  }

  async setWishes(systemId: string, { unitConfig, nodeStates, envVars }: UnitWishes): Promise<void> {
    await this.#sql.run(
      'UPDATE units SET unitConfig = ?, envVars = ?, nodeStates = ? WHERE systemId = ?',
      unitConfig ? JSON.stringify(unitConfig) : null,
      envVars ? JSON.stringify(envVars) : null,
      JSON.stringify(nodeStates),
      systemId,
    );
  }

  /** Passwords of the unit's nodes: security officer PINs of their tokens. */
  async nodePasswords(systemId: string): Promise<Readonly<Record<string, string>>> {
    const row = await this.#sql.get<{ secureData: string }>(
      'SELECT secureData FROM units WHERE systemId = ?',
      systemId,
    );
    const data = JSON.parse(row?.secureData ?? '{}') as { nodes?: Record<string, string> };
    return data.nodes ?? {};
  }

  async setNodePassword(systemId: string, nodeId: string, password: string | undefined): Promise<void> {
    const { [nodeId]: _, ...others } = await this.nodePasswords(systemId);
    const nodes = password === undefined ? others : { ...others, [nodeId]: password };
    await this.#sql.run(
      'UPDATE units SET secureData = ? WHERE systemId = ?',
      JSON.stringify({ version: '2.0.0', nodes }),
      systemId,
    );
  }

  /** A new bearer token; only its hash is kept. */
  async newToken(systemId: string, now: Date): Promise<string> {
    const token = randomBytes(32).toString('base64url');
    await this.#sql.run(
      'INSERT INTO tokens (hash, systemId, expiresAt) VALUES (?, ?, ?)',
      hashOf(token),
      systemId,
      new Date(now.getTime() + TOKEN_LIFETIME_MS).toISOString(),
    );
    await this.#sql.run(
      `DELETE FROM tokens WHERE systemId = ? AND hash NOT IN
           (SELECT hash FROM tokens WHERE systemId = ? ORDER BY expiresAt DESC, rowid DESC LIMIT ?)`,
      systemId,
      systemId,
      TOKENS_PER_UNIT,
    );
    return token;
  }

  /** The unit that a token was given to, while it is valid. */
  async unitOfToken(token: string, now: Date): Promise<string | undefined> {
    const row = await this.#sql.get<{ systemId: string }>(
      'SELECT systemId FROM tokens WHERE hash = ? AND expiresAt > ?',
      hashOf(token),
      now.toISOString(),
    );
    return row?.systemId;
  }
}

/** Units: their registration, their picture, what is wanted of them beside items, and tokens for their links. */
import { createHash, randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import { EMPTY_PICTURE, type UnitPicture } from '../units/unit-picture.ts';

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
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): UnitRow[] {
    return this.#database.prepare(`SELECT ${SHOWN} FROM units ORDER BY systemId`).all() as unknown as UnitRow[];
  }

  find(systemId: string): UnitRow | undefined {
    return this.#database.prepare(`SELECT ${SHOWN} FROM units WHERE systemId = ?`).get(systemId) as UnitRow | undefined;
  }

  /** Throws `notFound`. */
  get(systemId: string): UnitRow {
    const unit = this.find(systemId);
    if (!unit) throw new AosError('notFound', `there is no unit "${systemId}"; "aosctl units" lists all`);
    return unit;
  }

  register(registration: Registration, now: Date): void {
    const { systemId, modelName, modelVersion, nodes, secureData, requestDigest, answer } = registration;
    this.#database
      .prepare(
        `INSERT INTO units (systemId, status, modelName, modelVersion, nodes, secureData, registration, answer, provisionedAt)
         VALUES (?, 'provisioned', ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId) DO UPDATE SET
           status = excluded.status, modelName = excluded.modelName, modelVersion = excluded.modelVersion,
           nodes = excluded.nodes, secureData = excluded.secureData, registration = excluded.registration,
           answer = excluded.answer, provisionedAt = excluded.provisionedAt, picture = '{}'`,
      )
      .run(
        ...[systemId, modelName, modelVersion, JSON.stringify(nodes), secureData, requestDigest],
        ...[JSON.stringify(answer), now.toISOString()],
      );
  }

  /** The answer to this very registration, when it was made before. */
  registrationAnswer(systemId: string, requestDigest: string): unknown {
    const row = this.#database
      .prepare('SELECT answer FROM units WHERE systemId = ? AND registration = ?')
      .get(systemId, requestDigest) as { answer: string } | undefined;
    return row && JSON.parse(row.answer);
  }

  /** The next registration of the unit is taken; what is wanted of it stays. */
  reset(systemId: string): void {
    this.#database
      .prepare(
        `UPDATE units SET status = 'new', registration = '', answer = '{}', secureData = '{}' WHERE systemId = ?`,
      )
      .run(systemId);
    this.#database.prepare('DELETE FROM tokens WHERE systemId = ?').run(systemId);
  }

  delete(systemId: string): void {
    this.#database.prepare('DELETE FROM units WHERE systemId = ?').run(systemId);
  }

  setFleet(systemId: string, fleet: string): void {
    this.#database.prepare('UPDATE units SET fleet = ? WHERE systemId = ?').run(fleet, systemId);
  }

  setSeen(systemId: string, now: Date): void {
    this.#database.prepare('UPDATE units SET lastSeen = ? WHERE systemId = ?').run(now.toISOString(), systemId);
  }

  picture(systemId: string): UnitPicture {
    const row = this.#database.prepare('SELECT picture FROM units WHERE systemId = ?').get(systemId) as
      | { picture: string }
      | undefined;
    return row ? { ...EMPTY_PICTURE, ...(JSON.parse(row.picture) as Partial<UnitPicture>) } : EMPTY_PICTURE;
  }

  setPicture(systemId: string, picture: UnitPicture): void {
    this.#database.prepare('UPDATE units SET picture = ? WHERE systemId = ?').run(JSON.stringify(picture), systemId);
  }

  wishes(systemId: string): UnitWishes {
    const row = this.#database
      .prepare('SELECT unitConfig, envVars, nodeStates FROM units WHERE systemId = ?')
      .get(systemId) as { unitConfig: string | null; envVars: string | null; nodeStates: string } | undefined;
    return {
      nodeStates: row ? (JSON.parse(row.nodeStates) as UnitWishes['nodeStates']) : {},
      ...(row?.unitConfig && { unitConfig: JSON.parse(row.unitConfig) as NonNullable<UnitWishes['unitConfig']> }),
      ...(row?.envVars && { envVars: JSON.parse(row.envVars) as unknown[] }),
    };
  }

  setWishes(systemId: string, { unitConfig, nodeStates, envVars }: UnitWishes): void {
    this.#database
      .prepare('UPDATE units SET unitConfig = ?, envVars = ?, nodeStates = ? WHERE systemId = ?')
      .run(
        unitConfig ? JSON.stringify(unitConfig) : null,
        envVars ? JSON.stringify(envVars) : null,
        JSON.stringify(nodeStates),
        systemId,
      );
  }

  /** Passwords of the unit's nodes: security officer PINs of their tokens. */
  nodePasswords(systemId: string): Readonly<Record<string, string>> {
    const row = this.#database.prepare('SELECT secureData FROM units WHERE systemId = ?').get(systemId) as
      | { secureData: string }
      | undefined;
    const data = JSON.parse(row?.secureData ?? '{}') as { nodes?: Record<string, string> };
    return data.nodes ?? {};
  }

  setNodePassword(systemId: string, nodeId: string, password: string | undefined): void {
    const { [nodeId]: _, ...others } = this.nodePasswords(systemId);
    const nodes = password === undefined ? others : { ...others, [nodeId]: password };
    this.#database
      .prepare('UPDATE units SET secureData = ? WHERE systemId = ?')
      .run(JSON.stringify({ version: '2.0.0', nodes }), systemId);
  }

  /** A new bearer token; only its hash is kept. */
  newToken(systemId: string, now: Date): string {
    const token = randomBytes(32).toString('base64url');
    this.#database
      .prepare('INSERT INTO tokens (hash, systemId, expiresAt) VALUES (?, ?, ?)')
      .run(hashOf(token), systemId, new Date(now.getTime() + TOKEN_LIFETIME_MS).toISOString());
    this.#database
      .prepare(
        `DELETE FROM tokens WHERE systemId = ? AND hash NOT IN
           (SELECT hash FROM tokens WHERE systemId = ? ORDER BY expiresAt DESC, rowid DESC LIMIT ?)`,
      )
      .run(systemId, systemId, TOKENS_PER_UNIT);
    return token;
  }

  /** The unit that a token was given to, while it is valid. */
  unitOfToken(token: string, now: Date): string | undefined {
    const row = this.#database
      .prepare('SELECT systemId FROM tokens WHERE hash = ? AND expiresAt > ?')
      .get(hashOf(token), now.toISOString()) as { systemId: string } | undefined;
    return row?.systemId;
  }
}

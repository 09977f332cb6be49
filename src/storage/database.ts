/**
 * SQLite databases of the daemons: write-ahead log, durable commits, migrations (spec/decisions.md 6.5).
 * A corrupt database is set aside, never repaired in place and never fatal; where a copy is kept, the copy takes its
 * place (spec/beyond.md R-04).
 */
import { existsSync, linkSync, renameSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../core/index.ts';
import { AosError, asAosError, faultPoint } from '../core/index.ts';
import { removeTemporaryFiles } from './atomic-file.ts';
import { copyOf, restoreCopy } from './database-copy.ts';
import { DISK_IS_FULL } from './disk-full.ts';

/** SQL that brings a database from version n to n+1; the index in the list is n. */
export type Migration = string;

/** SQLite's primary result codes for a file that is damaged or no database. */
const CORRUPT_CODES = new Set([11, 26]);
const FULL_CODE = 13;

/** Opens (and creates, migrates, or sets aside and restores or re-creates) a database. */
export async function openDatabase(
  path: string,
  migrations: readonly Migration[],
  logger: Logger,
): Promise<DatabaseSync> {
  await mkdir(dirname(path), { recursive: true });
  await removeTemporaryFiles(dirname(path), basename(path));
  try {
    return await openAndMigrate(path, migrations);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    setAside(path, error, logger, existsSync(copyOf(path)) ? 'stays until it is replaced' : 'goes');
  }
  if (existsSync(copyOf(path))) {
    await restoreCopy(path);
    try {
      const database = await openAndMigrate(path, migrations);
      logger.warn({ path }, 'the copy of the database took its place: it knows what was so when it was made');
      return database;
    } catch (error) {
      if (!isCorruption(error)) throw error;
      setAside(path, error, logger, 'goes', copyOf(path));
    }
  }
  logger.warn({ path }, 'the database begins empty');
  return openAndMigrate(path, migrations);
}

/** A file that stays under both names says, should we die now, that its copy is still to take its place. */
type Fate = 'goes' | 'stays until it is replaced';

function setAside(path: string, error: unknown, logger: Logger, fate: Fate, name = path): void {
  const aside = `${name}.corrupt-${Date.now()}`;
  for (const suffix of ['-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  if (fate === 'goes') renameSync(path, aside);
  else keepUnderBothNames(path, aside);
  logger.error({ path, aside, error: String(error) }, 'the database is damaged and was set aside');
}

function keepUnderBothNames(path: string, aside: string): void {
  try {
    linkSync(path, aside);
  } catch (error) {
    // A file system without links: there a death right now begins with an empty database.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    renameSync(path, aside);
  }
}

async function openAndMigrate(path: string, migrations: readonly Migration[]): Promise<DatabaseSync> {
  const database = new DatabaseSync(path);
  try {
    database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;',
    );
    const check = database.prepare('PRAGMA quick_check').get() as { quick_check: string };
    if (check.quick_check !== 'ok') throw Object.assign(new Error(check.quick_check), { errcode: 11 });
    await migrate(database, path, migrations);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

async function migrate(database: DatabaseSync, path: string, migrations: readonly Migration[]): Promise<void> {
  const { user_version: current } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (current > migrations.length) {
    throw new AosError(
      'notSupported',
      `database ${path} has version ${current}, this program knows up to ${migrations.length}; install the newer program again or move the file away`,
    );
  }
  if (current === migrations.length) return;
  if (current > 0) {
    const copy = `${path}.before-${current + 1}`;
    await rm(copy, { force: true });
    database.prepare('VACUUM INTO ?').run(copy);
  }
  for (let version = current; version < migrations.length; version += 1) {
    transaction(database, () => {
      database.exec(migrations[version]!);
      database.exec(`PRAGMA user_version = ${version + 1}`);
    });
  }
}

function isCorruption(error: unknown): boolean {
  return CORRUPT_CODES.has(primaryCode(error));
}

/** SQLite's primary result code; 0 for what is no error of SQLite. */
function primaryCode(error: unknown): number {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : 0;
}

/** Runs a function in one durable transaction; an exception undoes it. */
export function transaction<T>(database: DatabaseSync, work: () => T, faultName?: string): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    if (faultName) faultPoint(`${faultName}.before-commit`);
    database.exec('COMMIT');
    if (faultName) faultPoint(`${faultName}.committed`);
    return result;
  } catch (error) {
    throw rolledBack(database, error);
  }
}

/**
 * Ends a transaction that has failed, and answers why it did, as it is told: a full disk in its own words. When it cannot
 * even be rolled back, that is said behind what came first.
 */
export function rolledBack(database: Pick<DatabaseSync, 'isTransaction' | 'exec'>, error: unknown): AosError {
  const first = primaryCode(error) === FULL_CODE ? fullDisk(error) : asAosError(error);
  try {
    if (database.isTransaction) database.exec('ROLLBACK');
    return first;
  } catch (second) {
    const { code, message, exitCode, fields } = first;
    const words = `${message}; nor could the transaction be rolled back: ${asAosError(second).message}`;
    return new AosError(code, words, { cause: first, exitCode, fields });
  }
}

const fullDisk = (cause: unknown): AosError =>
  new AosError('noMemory', 'not enough space', { cause, exitCode: DISK_IS_FULL });

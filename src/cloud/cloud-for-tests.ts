/** A cloud in the process of a test, on free ports of the loopback interface, in a temporary directory. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { Life } from '../daemon/index.ts';
import { type Endpoints, startCloud } from './cloud.ts';
import { CloudAccess } from './cloud-access-for-tests.ts';
import { CloudConfig } from './config.ts';

/** As `expect.poll`, with the patience that a busy machine needs; nothing waits so long unless it is broken. */
export const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 15_000 });

/**
 * With `AOS_TEST_POSTGRES`, the directory of a PostgreSQL's socket, all tests have their clouds there, each in a database
 * of its own, which belongs to its directory.
 */
async function databaseOf(home: string): Promise<string | undefined> {
  const server = process.env.AOS_TEST_POSTGRES;
  if (server === undefined) return undefined;
  const name = `test_${createHash('sha256').update(home).digest('hex').slice(0, 16)}`;
  const urlOf = (database: string) => `postgresql://aos@localhost/${database}?host=${encodeURIComponent(server)}`;
  const { default: driver } = await import('pg');
  const client = new driver.Client({ connectionString: urlOf('postgres') });
  await client.connect();
  const { rows } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
  if (rows.length === 0) await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return urlOf(name);
}

export class TestCloud extends CloudAccess {
  readonly #life: Life;

  private constructor(directory: string, endpoints: Endpoints, life: Life) {
    super(directory, endpoints);
    this.#life = life;
  }

  /** Starts a cloud; in the directory of a former one it goes on from there. */
  static async start(config: Record<string, unknown> = {}, directory?: string): Promise<TestCloud> {
    const home = directory ?? (await mkdtemp(join(tmpdir(), 'aos-cloud-test-')));
    const life = new Life(silentLogger);
    const database = await databaseOf(home);
    const ports = { discovery: 0, webSocket: 0, rest: 0, blobs: 0 };
    const options = CloudConfig.parse({
      ...{ workingDir: join(home, 'work'), listenHost: '127.0.0.1', ports },
      ...(database !== undefined && { database }),
      ...config,
    });
    try {
      return new TestCloud(home, await startCloud(options, (name, part) => life.use(name, part), silentLogger), life);
    } catch (error) {
      await life.stop();
      throw error;
    }
  }

  /** Stops the cloud and keeps its directory. */
  async stop(): Promise<void> {
    this.disconnect();
    await this.#life.stop();
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

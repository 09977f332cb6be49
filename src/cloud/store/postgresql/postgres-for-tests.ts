/** A real PostgreSQL for tests: on a socket in a temporary directory, by a user who may do nothing, gone afterwards. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Client } from 'pg';

/** Where `./dev` puts programs of packages that it does not install (devenv/debian-programs.txt), and the host. */
const ROOTS = [join(import.meta.dirname, '../../../../build/debian/root'), '/'];
const OWNER = 'aos';
const READY = /database system is ready to accept connections/;
/**
 * The server refuses to be run by root. In a user namespace it believes to be nobody, and still reaches its programs in a
 * checkout that is root's alone.
 */
const AS_NOBODY = ['unshare', '--user', '--map-user=65534', '--map-group=65534'];

/** Certificate and key of a server, PEM. */
export interface ServerIdentity {
  readonly chain: string;
  readonly key: string;
}

export class PostgresForTests {
  readonly directory: string;
  readonly #programs: string;
  /** Also over TCP, with TLS for those who want it. */
  #tcpPort: number | undefined;
  #server: ChildProcess | undefined;

  private constructor(directory: string, programs: string) {
    this.directory = directory;
    this.#programs = programs;
  }

  /** A server with no databases but its own; one with an identity can be reached over TLS, too. */
  static async start(identity?: ServerIdentity): Promise<PostgresForTests> {
    const programs = findPrograms();
    const directory = await mkdtemp(join(tmpdir(), 'aos-postgres-'));
    const server = new PostgresForTests(directory, programs);
    try {
      const options = ['-D', server.#data, '-U', OWNER, '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
      const [program, ...words] = server.#words('initdb', options);
      execFileSync(program!, words, { ...server.#surroundings, stdio: 'pipe' });
      if (identity) {
        await writeFile(join(server.#data, 'server.crt'), identity.chain);
        await writeFile(join(server.#data, 'server.key'), identity.key, { mode: 0o600 });
        server.#tcpPort = await freePort();
      }
      await server.resume();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** Address of a database. */
  url(database: string, user = OWNER): string {
    const port = this.#tcpPort === undefined ? '' : `:${this.#tcpPort}`;
    return `postgresql://${user}@localhost${port}/${database}?host=${encodeURIComponent(this.directory)}`;
  }

  /** Address of a database over TCP, with words about TLS as they stand in a configuration. */
  tcpUrl(database: string, words: Readonly<Record<string, string>>): string {
    if (this.#tcpPort === undefined) throw new Error('this server listens on its socket only');
    return `postgresql://${OWNER}@localhost:${this.#tcpPort}/${database}?${new URLSearchParams(words)}`;
  }

  /** An empty database; answers its address. */
  async createDatabase(): Promise<string> {
    const name = `test_${randomUUID().replaceAll('-', '')}`;
    await this.ask('postgres', `CREATE DATABASE ${name}`);
    return this.url(name);
  }

  /** Rows that a statement answers in a database. */
  async ask(database: string, sql: string): Promise<Record<string, unknown>[]> {
    const client = await this.connect(database);
    try {
      return (await client.query(sql)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  }

  async connect(database: string): Promise<Client> {
    const { default: driver } = await import('pg');
    const client = new driver.Client({ connectionString: this.url(database) });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Ends the server as a crash does, or in order; its databases stay. */
  async pause(signal: 'SIGQUIT' | 'SIGINT' = 'SIGINT'): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server || server.exitCode !== null) return;
    const gone = once(server, 'exit');
    server.kill(signal);
    await gone;
  }

  async resume(): Promise<void> {
    const tcp =
      this.#tcpPort === undefined
        ? ['listen_addresses=']
        : ['listen_addresses=localhost', `port=${this.#tcpPort}`, 'ssl=on'];
    const settings = [...tcp, 'fsync=off', 'max_connections=100'];
    const options = ['-D', this.#data, '-k', this.directory, ...settings.flatMap((setting) => ['-c', setting])];
    const [program, ...words] = this.#words('postgres', options);
    const server = spawn(program!, words, { ...this.#surroundings, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#server = server;
    const said: string[] = [];
    await new Promise<void>((resolve, reject) => {
      createInterface(server.stderr!).on('line', (line) => {
        if (said.length < 100) said.push(line);
        if (READY.test(line)) resolve();
      });
      server.once('error', reject);
      server.once('exit', (code) => reject(new Error(`postgres ended with ${code}: ${said.join('\n')}`)));
    });
  }

  async close(): Promise<void> {
    await this.pause('SIGQUIT');
    await rm(this.directory, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.directory, 'data');
  }

  #words(name: string, options: readonly string[]): string[] {
    return [...(process.getuid?.() === 0 ? AS_NOBODY : []), join(this.#programs, name), ...options];
  }

  get #surroundings() {
    const libraries = globSync(join(ROOTS[0]!, '{usr/lib,lib}', '*-linux-gnu')).join(':');
    return {
      cwd: this.directory,
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...(libraries !== '' && { LD_LIBRARY_PATH: libraries }) },
    };
  }
}

function findPrograms(): string {
  const [found] = ROOTS.flatMap((root) => globSync(join(root, 'usr/lib/postgresql/*/bin')));
  if (found === undefined) throw new Error('PostgreSQL is missing; ./dev takes it out of its Debian package');
  return found;
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, 'localhost');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

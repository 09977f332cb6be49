/** A database that is reached over TLS, as the address in the configuration says. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../../../core/index.ts';
import { Authority } from '../../pki/authority.ts';
import { PostgresDatabase } from './postgres-database.ts';
import { PostgresForTests } from './postgres-for-tests.ts';

let directory: string;
let server: PostgresForTests;
/** Has the certificate of another host. */
let elsewhere: PostgresForTests;

const pathOf = (authority: string) => join(directory, `${authority}.pem`);

async function authorityOf(name: string, hostName: string): Promise<Authority> {
  const authority = await Authority.open({
    ...{ directory: join(directory, name), hostName, otherNames: [], now: () => new Date() },
  });
  await writeFile(pathOf(name), authority.rootPem);
  return authority;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-postgres-tls-'));
  server = await PostgresForTests.start((await authorityOf('own', 'localhost')).server);
  elsewhere = await PostgresForTests.start((await authorityOf('other', 'db.example')).server);
}, 60_000);

afterAll(async () => {
  await server?.close();
  await elsewhere?.close();
  await rm(directory, { recursive: true, force: true });
});

const open = (url: string) => PostgresDatabase.open({ url, logger: silentLogger });

test('with the authority of the server all connections are encrypted', async () => {
  const { pathname } = new URL(await server.createDatabase());
  const url = server.tcpUrl(pathname.slice(1), { sslmode: 'verify-full', sslrootcert: pathOf('own') });
  const database = await open(url);
  try {
    const isEncrypted = 'SELECT ssl AS "isEncrypted" FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
    expect(await database.read((sql) => sql.get(isEncrypted))).toEqual({ isEncrypted: 1 });
    // That for the notes of processes.
    const client = await database.connect();
    expect((await client.query(isEncrypted)).rows).toEqual([{ isEncrypted: 1 }]);
    await client.end();
  } finally {
    await database.stop();
  }
});

test.each([
  ['no authority', {}],
  ['another authority', { sslrootcert: 'other' }],
])(
  'a server is refused whose certificate is of an authority that is not trusted: %s',
  async (_, { sslrootcert }: { sslrootcert?: string }) => {
    const words = { sslmode: 'verify-full', ...(sslrootcert && { sslrootcert: pathOf(sslrootcert) }) };
    await expect(open(server.tcpUrl('postgres', words))).rejects.toThrow(
      /localhost:\d+\/postgres shows a certificate that is not trusted: .*; "sslrootcert" in the address/,
    );
  },
);

test('a server is refused whose certificate has another name', async () => {
  const url = elsewhere.tcpUrl('postgres', { sslmode: 'verify-full', sslrootcert: pathOf('other') });
  await expect(open(url)).rejects.toThrow(/is not trusted: .*localhost.*db\.example/);
});

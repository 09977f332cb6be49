/** A CM that dies at each durable write about an address (spec/beyond.md R-01). */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const SCRIPT = join(import.meta.dirname, 'crash-for-tests.ts');

test.each([
  'network.save.committed',
  'network.save.before-commit#2',
  'network.save.committed#2',
  'network.hosts.written#2',
  'network.hosts.renamed#2',
  'network.signal-dns#2',
])(
  '[R-01] [CM-98] [CM-99] killed at %s it gives the same address the next time, and the name goes with it',
  async (fault) => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-networks-crash-'));
    // A name server that survives a signal.
    const server = spawn('sh', ['-c', 'trap : HUP; echo ready; while :; do sleep 0.1; done']);
    try {
      await once(server.stdout, 'data');
      await writeFile(join(directory, 'pid'), `${server.pid}\n`);
      const run = (AOS_FAULT: string) =>
        spawnSync(process.execPath, [SCRIPT, directory], { env: { ...process.env, AOS_FAULT }, stdio: 'inherit' })
          .signal;
      expect(run(fault)).toBe('SIGKILL');
      expect(run('')).toBeNull();
      expect(await readFile(join(directory, 'addnhosts'), 'utf8')).toBe('172.17.0.3\tweb\n');
      expect((await readdir(directory)).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
    } finally {
      server.kill('SIGKILL');
      await rm(directory, { recursive: true, force: true });
    }
  },
);

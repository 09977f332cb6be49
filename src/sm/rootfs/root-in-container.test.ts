/** A container runtime takes the root and its mounts: what a process sees from inside. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { HostMounts } from '../../platform/mount/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { BlobSource, busyboxEntries } from '../images/images-for-tests.ts';
import { IMAGE_TABLES, ImageStore } from '../images/index.ts';
import type { OciMount } from '../model.ts';
import { ContainerRoots } from './container-roots.ts';

const canRun = process.getuid?.() === 0 && spawnSync('runc', ['--version']).status === 0;
const signal = new AbortController().signal;

test.skipIf(!canRun)(
  '[SM-11] [SM-30] [R-11] inside of a container the layers lie over the node, its names are there, and nothing can be written',
  async () => {
    const work = await mkdtemp(join(tmpdir(), 'aos-inside-'));
    const source = await BlobSource.create();
    const database = await openDatabase(join(work, 'sm.db'), [IMAGE_TABLES], silentLogger);
    try {
      const store = await ImageStore.open({
        imagePath: join(work, 'images'),
        database,
        blobUrls: source.blobUrls,
        logger: silentLogger,
      });
      const layer = [...busyboxEntries(), { name: 'usr/share/own', content: 'own' }, { name: 'usr/bin/.wh.env' }];
      const item = await store.install(await source.service('item', '1', { layers: [layer] }), signal);
      const roots = await ContainerRoots.open({ workingDir: work, hostBinds: [] });
      const id = `aos-inside-${process.pid}`;
      const bundleDir = join(work, id);
      await mkdir(bundleDir);
      const mounts: OciMount[] = [
        { destination: '/proc', type: 'proc', source: 'proc', options: [] },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      ];
      const network = { hosts: [{ ip: '172.17.0.9', name: 'peer' }], dnsServers: ['172.17.0.1'], hostname: 'inside' };
      const root = await roots.prepare({ id, bundleDir, item, mounts, network }, signal);
      const script = [
        'cat /etc/hosts /etc/resolv.conf /usr/share/own /etc/hostname',
        'ls -d /usr/bin/env /var /root 2>/dev/null',
        'ls /usr/bin/tail',
        '>/x 2>/dev/null || echo read-only root',
        '>/usr/x 2>/dev/null || echo read-only node',
      ].join('\n');
      await writeFile(
        join(bundleDir, 'config.json'),
        JSON.stringify({
          ociVersion: '1.0.2',
          process: {
            user: { uid: 0, gid: 0 },
            args: ['/bin/busybox', 'sh', '-c', script],
            cwd: '/',
            env: ['PATH=/bin:/usr/bin'],
          },
          root: { path: root.path, readonly: true },
          mounts: [...root.mounts, ...mounts],
          linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
        }),
      );
      const args = ['--root', join(work, 'state'), 'run', '--bundle', bundleDir, id];
      const output = execFileSync('runc', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      expect(output.split('\n')).toEqual([
        '172.17.0.9\tpeer',
        'nameserver 172.17.0.1',
        'owninside',
        '/usr/bin/tail',
        'read-only root',
        'read-only node',
        '',
      ]);
      await roots.remove(id, bundleDir, signal);
      expect(await new HostMounts().listBelow(work)).toEqual([]);
      await store.stop();
    } finally {
      const host = new HostMounts();
      await host.unmountAll(
        (await host.listBelow(work)).map(({ target }) => target),
        signal,
      );
      database.close();
      await source.close();
      await rm(work, { recursive: true, force: true });
    }
  },
);

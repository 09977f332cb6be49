/** Promises of the container runtime, kept with real containers. Needs root, conmon, and crun or runc. */
import { readdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AosError, instanceId } from '../../core/index.ts';
import { HostNetworkNamespaces, netnsPath } from '../../platform/netns/index.ts';
import { identifyProcess } from '../../platform/proc/index.ts';
import type { InstanceInfo } from '../model.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { LOOPBACK, RuntimeWorld, service } from './runtime-for-tests.ts';
import type { RunningInstance } from './runtime-model.ts';

const patience = () => AbortSignal.timeout(30_000);

let world: RuntimeWorld;
beforeEach(async () => {
  world = await RuntimeWorld.create();
});
afterEach(() => world.close());

const report = (id: string) => world.runtime.instances().find((instance) => instance.id === id)!;
const states = () => world.changes.map(({ state }) => state);

describe('life of an instance', () => {
  test('[SM-17] a service is activating, then active, and inactive after its stop, with nothing left', async () => {
    const id = await world.start('exec sleep 1000');
    const { pid, bundleDir, cgroupPath } = report(id);
    expect(identifyProcess(pid!)).toBeDefined();
    await world.runtime.stop(id, patience());
    expect(states()).toEqual(['activating', 'active', 'inactive']);
    expect(world.runtime.instances()).toEqual([]);
    expect(identifyProcess(pid!)).toBeUndefined();
    expect(() => readFileSync(join(bundleDir, 'config.json'))).toThrow('ENOENT');
    expect(world.cgroups.processes(cgroupPath)).toEqual([]);
  });

  test('[SM-15] [SM-16] [P-18] an exit is reported with its code, restarted three times within the window, then given up', async () => {
    const config = { runParameters: { restartInterval: '100ms' } };
    // Whether it counts as started depends on who is faster.
    await world.start('exit 3', { config }).catch(() => undefined);
    await world.until((changes) => changes.some(({ crash }) => crash?.gaveUp));
    const failures = world.changes.filter(({ state }) => state === 'failed');
    expect(failures.map(({ error }) => error?.message)).toEqual([
      'exit code 3',
      'exit code 3',
      'exit code 3',
      'gave up after 3 restarts: exit code 3',
    ]);
    expect(failures.map(({ error }) => [error?.aosCode, error?.exitCode])).toEqual(Array(4).fill([1, 3]));
    const [{ id, restarts }] = world.runtime.instances() as [RunningInstance];
    expect(restarts).toBe(3);
    expect(world.store.history(id).map(({ outcome, cause }) => `${cause}: ${outcome}`)).toEqual([
      'exit code 3: gave up',
      'exit code 3: restart',
      'exit code 3: restart',
      'exit code 3: restart',
    ]);
  });

  test('[P-18] a process that a signal killed says which', async () => {
    const id = await world.start('exec sleep 1000', { config: { runParameters: { restartInterval: '1h' } } });
    process.kill(report(id).pid!, 'SIGKILL');
    await world.until((changes) => changes.some(({ error }) => error?.message === 'killed by signal 9'));
    expect(world.changes.find(({ error }) => error)?.error).toEqual({
      aosCode: 1,
      exitCode: 137,
      message: 'killed by signal 9',
    });
  });

  test('[P-17] a service that listens to its stop signal ends in its own way', async () => {
    const script = 'trap "echo bye > /storage/end; exit 0" TERM; touch /storage/up; while :; do sleep 0.05; done';
    const id = await world.start(script, {}, { storagePath: 'one' });
    await untilFile(join(world.directory, 'storages/one/up'));
    await world.runtime.stop(id, patience());
    expect(readFileSync(join(world.directory, 'storages/one/end'), 'utf8')).toBe('bye\n');
    expect(world.changes.at(-1)?.because).toBe('it was stopped and ended in order');
  });

  test('[P-17] the stop signal of the image is sent instead of SIGTERM', async () => {
    const script = 'trap "echo int > /storage/end; exit 0" INT; touch /storage/up; while :; do sleep 0.05; done';
    const id = await world.start(script, { image: { stopSignal: 'SIGINT' } }, { storagePath: 'one' });
    await untilFile(join(world.directory, 'storages/one/up'));
    await world.runtime.stop(id, patience());
    expect(readFileSync(join(world.directory, 'storages/one/end'), 'utf8')).toBe('int\n');
  });

  test('[SM-18] [P-17] a service that ignores its stop signal is killed after its time', async () => {
    const script = 'trap "" HUP; trap ":" TERM; touch /storage/up; while :; do sleep 0.05; done';
    const id = await world.start(script, { config: { stopTimeout: '200ms' } }, { storagePath: 'one' });
    await untilFile(join(world.directory, 'storages/one/up'));
    await world.runtime.stop(id, patience());
    expect(world.changes.at(-1)?.because).toBe('it was killed 200 ms after its stop signal');
  });
});

describe('start and stop at awkward moments', () => {
  test('a start of what is active is refused, and changes nothing', async () => {
    const info = world.info();
    const request = { info, item: service('exec sleep 1000'), network: LOOPBACK };
    await world.runtime.start(request, patience());
    const before = report(instanceId(info.ident));
    await expect(world.runtime.start(request, patience())).rejects.toMatchObject({ code: 'alreadyExist' });
    expect(report(before.id)).toEqual(before);
  });

  test('a start of what failed is a new start', async () => {
    const info = world.info();
    const config = { runParameters: { startBurst: 1, startInterval: '1h', restartInterval: '100ms' } };
    const start = (script: string) => {
      return world.runtime.start({ info, item: service(script, { config }), network: LOOPBACK }, patience());
    };
    await start('exit 1').catch(() => undefined);
    await world.until((changes) => changes.some(({ crash }) => crash?.gaveUp));
    await start('exec sleep 1000');
    expect(report(instanceId(info.ident))).toMatchObject({ state: 'active', restarts: 0 });
  });

  test('a stop of what nobody knows is refused', async () => {
    await expect(world.runtime.stop('nobody', patience())).rejects.toMatchObject({ code: 'notFound' });
  });

  test('a stop while it starts leaves nothing', async () => {
    const info = world.info();
    const id = instanceId(info.ident);
    const started = world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    const outcome = started.catch((error: AosError) => error.code);
    await Promise.resolve();
    await world.runtime.stop(id, patience());
    expect(await outcome).toBe('canceled');
    expect(world.runtime.instances()).toEqual([]);
    expect(world.cgroups.processes(cgroupPathOf(id))).toEqual([]);
    expect(states().at(-1)).toBe('inactive');
  });

  test('a stop while a restart is due cancels it', async () => {
    const config = { runParameters: { restartInterval: '1h' } };
    const id = await world.start('sleep 0.2; exit 1', { config });
    await world.until((changes) => changes.at(-1)?.state === 'failed');
    await world.runtime.stop(id, patience());
    expect(states()).toEqual(['activating', 'active', 'failed', 'inactive']);
  });

  test('a command that is not there fails the start by name and leaves nothing', async () => {
    const info = world.info();
    const item = service('', { image: { cmd: ['/bin/nothing'] } });
    await expect(world.runtime.start({ info, item, network: LOOPBACK }, patience())).rejects.toThrow('/bin/nothing');
    const id = instanceId(info.ident);
    expect(report(id)).toMatchObject({ state: 'failed' });
    expect(world.cgroups.processes(cgroupPathOf(id))).toEqual([]);
    await world.runtime.stop(id, patience());
  });

  test('twenty instances start and stop at once', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => world.start('exec sleep 1000')));
    expect(world.runtime.instances().filter(({ state }) => state === 'active')).toHaveLength(20);
    await Promise.all(ids.map((id) => world.runtime.stop(id, patience())));
    expect(world.runtime.instances()).toEqual([]);
    expect(readdirSync(join(world.directory, 'runtime'))).toEqual([]);
    expect(readdirSync(join(world.directory, 'oci'))).toEqual([]);
  });
});

describe('probes', () => {
  test('[P-19] a service is active when its command probe succeeds, not before', async () => {
    const probes = { start: { exec: ['/bin/cat', '/storage/ready'], interval: '50ms', timeout: '5s' } };
    const info = world.info({ storagePath: 'one' });
    const script = 'while [ ! -e /storage/go ]; do sleep 0.02; done; touch /storage/ready; exec sleep 1000';
    const item = service(script, { config: { probes } });
    const started = world.runtime.start({ info, item, network: LOOPBACK }, patience());
    await untilFile(join(world.directory, 'runtime', instanceId(info.ident), 'pid'));
    expect(new Set(states())).toEqual(new Set(['activating']));
    await writeFile(join(world.directory, 'storages/one/go'), '');
    await started;
    expect(world.changes.at(-1)).toMatchObject({ state: 'active', because: 'its start probe succeeded' });
  });

  test('[P-19] a service that does not answer its live probe any more is ended and started again', async () => {
    const probes = { live: { exec: ['/bin/cat', '/storage/alive'], interval: '50ms', timeout: '5s', failures: 2 } };
    const config = { probes, runParameters: { restartInterval: '100ms' } };
    const file = join(world.directory, 'storages/one/alive');
    await world.start('touch /storage/alive; exec sleep 1000', { config }, { storagePath: 'one' });
    const [{ pid }] = world.runtime.instances() as [RunningInstance];
    await untilFile(file);
    await rm(file);
    await world.until((changes) => changes.filter(({ state }) => state === 'active').length === 2);
    const failed = world.changes.find(({ state }) => state === 'failed')!;
    expect(failed.error?.message).toMatch(/^live probe failed: exit code 1/);
    const [after] = world.runtime.instances() as [RunningInstance];
    expect([after.restarts, after.pid === pid]).toEqual([1, false]);
  });

  test('[P-19] a service whose probe does not succeed in time is stopped and failed', async () => {
    const probes = {
      start: { exec: ['/bin/cat', '/nothing'], interval: '50ms', timeout: '5s', startTimeout: '300ms' },
    };
    await expect(world.start('exec sleep 1000', { config: { probes } })).rejects.toThrow(
      'start probe failed: exit code 1',
    );
    expect(world.changes.at(-1)).toMatchObject({ state: 'failed', error: { aosCode: 7 } });
    const [instance] = world.runtime.instances();
    expect(world.cgroups.processes(instance!.cgroupPath)).toEqual([]);
  });

  test('[P-19] connections and requests are tried from inside of the network of the instance', async () => {
    const namespaces = new HostNetworkNamespaces();
    const [tcp, http] = [world.info(), world.info()];
    const names = [tcp, http].map(({ ident }) => instanceId(ident));
    await namespaces.create(names, patience());
    try {
      const script = 'sleep 0.1; mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www';
      const start = (info: InstanceInfo, probe: object) => {
        const probes = { start: { ...probe, interval: '50ms', timeout: '10s' } };
        const item = service(script, { config: { probes, quotas: { tmpLimit: 1_000_000 } } });
        const network = { ...LOOPBACK, netnsPath: netnsPath(instanceId(info.ident)) };
        return world.runtime.start({ info, item, network }, patience());
      };
      await start(tcp, { tcp: { port: 8080 } });
      await start(http, { http: { port: 8080, path: '/index.html' } });
      expect(world.runtime.instances().map(({ state }) => state)).toEqual(['active', 'active']);
      await Promise.all(names.map((id) => world.runtime.stop(id, patience())));
    } finally {
      await namespaces.remove(names, patience());
    }
  });
});

describe('a service manager that comes back', () => {
  test('[SM-58] [R-08] a running container is taken over untouched, and its exit is noticed', async () => {
    const info = world.info();
    const id = instanceId(info.ident);
    await world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    const before = report(id);
    await world.runtime.close();

    const runtime = await world.open();
    const adopted = await runtime.adopt([info], new Map(), patience());
    expect(adopted).toMatchObject([{ id, state: 'active', pid: before.pid }]);
    expect(report(id)).toMatchObject({ pid: before.pid, startedAt: before.startedAt });
    process.kill(before.pid!, 'SIGKILL');
    await world.until((changes) => changes.some(({ error }) => error?.message === 'killed by signal 9'));
    await world.until((changes) => changes.at(-1)?.state === 'active');
  });

  test('[SM-58] unknown containers and those of another version are removed', async () => {
    const [kept, changed, unknown] = [world.info(), world.info(), world.info()];
    for (const info of [kept, changed, unknown]) {
      await world.runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, patience());
    }
    const pids = world.runtime.instances().map(({ pid }) => pid!);
    await world.runtime.close();

    const runtime = await world.open();
    await runtime.adopt([kept, { ...changed, version: '2.0.0' }], new Map(), patience());
    expect(pids.map((pid) => identifyProcess(pid) !== undefined)).toEqual([true, false, false]);
    expect(runtime.instances().map(({ pid }) => pid)).toEqual([pids[0]]);
  });

  test('[P-19] [SM-58] one whose probe had not succeeded yet is probed on', async () => {
    const probes = { start: { exec: ['/bin/cat', '/storage/ready'], interval: '50ms', timeout: '5s' } };
    const info = world.info({ storagePath: 'one' });
    const item = service('exec sleep 1000', { config: { probes } });
    const started = world.runtime.start({ info, item, network: LOOPBACK }, patience()).catch(() => undefined);
    const bundle = join(world.directory, 'runtime', instanceId(info.ident));
    await untilText(join(bundle, 'run.json'), '"process"');
    await world.runtime.close();
    await started;

    const runtime = await world.open();
    expect(await runtime.adopt([info], new Map(), patience())).toMatchObject([{ state: 'activating' }]);
    await writeFile(join(world.directory, 'storages/one/ready'), '');
    await world.until((changes) => changes.at(-1)?.state === 'active');
    await runtime.close();
    const next = await world.open();
    expect(await next.adopt([info], new Map(), patience())).toMatchObject([{ state: 'active' }]);
  });

  test('[SM-58] one that ended meanwhile is reported with its exit code and started again', async () => {
    const info = world.info();
    const item = service('sleep 0.3; exit 7', { config: { runParameters: { startBurst: 1, startInterval: '1h' } } });
    await world.runtime.start({ info, item, network: LOOPBACK }, patience());
    const { bundleDir, id } = report(instanceId(info.ident));
    await world.runtime.close();
    await untilFile(join(bundleDir, 'exit', id));

    const runtime = await world.open();
    await runtime.adopt([info], new Map(), patience());
    await world.until((changes) => changes.some(({ crash }) => crash?.gaveUp));
    expect(world.changes.slice(2).map(({ state, error }) => error?.message ?? state)).toEqual([
      'exit code 7',
      'active',
      'gave up after 1 restart: exit code 7',
    ]);
  });
});

/** The container writes it; nothing else tells. */
async function untilFile(path: string): Promise<void> {
  await untilText(path, '');
}

async function untilText(path: string, text: string): Promise<void> {
  const signal = patience();
  for (;;) {
    try {
      if (readFileSync(path, 'utf8').includes(text)) return;
      throw new Error('not yet');
    } catch {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Components beside services: who says how they do, what is told of them, and what is left alone. */
import { describe, expect, test } from 'vitest';
import { AosError, ERROR_CODES } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';
import { anInstance, anItem, Host, RUNTIME_ID } from './instances-for-tests.ts';
import { Launcher } from './launcher.ts';
import type { InstanceChange, Runtime, StandingInstance } from './parts.ts';

const { signal } = new AbortController();
const FIRMWARE_ID = 'runtime-boot';

function component(version: string, change: Partial<InstanceInfo> = {}): InstanceInfo {
  const ident = { itemId: 'fw', subjectId: 'fleet', instance: 0, type: 'component', preinstalled: false } as const;
  return anInstance('fw', { ident, version, manifestDigest: `sha256:${version}`, runtimeId: FIRMWARE_ID, ...change });
}

const STANDING = component('1.0.0', {
  ident: { itemId: 'boot', subjectId: 'main', instance: 0, type: 'component', preinstalled: true },
});

/** Firmware that does as it is told, on a node that remembers from boot to boot. */
class Firmware implements Runtime {
  readonly runtimeId = FIRMWARE_ID;
  readonly type = 'boot';
  readonly runs = 'components';
  readonly log: string[] = [];
  pending: InstanceInfo | undefined;
  installed: InstanceInfo | undefined;
  stands: StandingInstance = { info: STANDING, state: 'active', because: 'it came with the node' };
  tellStanding = (): void => undefined;
  failure: AosError | undefined;
  #tell: (change: InstanceChange) => void = () => undefined;
  #reboot: (because: string) => void = () => undefined;

  async adopt(known: readonly InstanceInfo[]) {
    if (this.pending) this.installed = this.pending;
    this.pending = undefined;
    return known.map(({ ident }) => ({ ident, state: 'active', because: 'it is installed' }) as const);
  }

  async start({ info }: { readonly info: InstanceInfo }) {
    this.log.push(`start ${info.version}`);
    if (this.failure) throw this.failure;
    this.pending = info;
    this.#tell({ ident: info.ident, state: 'activating', because: 'it is written' });
    this.#reboot(`version ${info.version}`);
  }

  async stop() {
    this.log.push('stop');
  }

  holds(): boolean {
    return true;
  }

  forget(): void {
    this.installed = undefined;
  }

  standing(): readonly StandingInstance[] {
    return this.installed ? [] : [this.stands];
  }

  onStanding(listener: () => void) {
    this.tellStanding = listener;
    return () => undefined;
  }

  onChange(listener: (change: InstanceChange) => void) {
    this.#tell = listener;
    return () => undefined;
  }

  onReboot(listener: (because: string) => void) {
    this.#reboot = listener;
    return () => undefined;
  }

  tell(change: InstanceChange): void {
    this.#tell(change);
  }
}

/** A node with containers and firmware. */
async function boot(host: Host, firmware: Firmware): Promise<Launcher> {
  const parts = host.parts();
  const launcher = new Launcher({ ...parts, runtimes: [...parts.runtimes, firmware] });
  launcher.start();
  await launcher.settled(5000, signal);
  return launcher;
}

const told = (launcher: Launcher) =>
  launcher.board
    .statuses()
    .map(({ ident, version, state }) => `${ident.itemId} ${version} ${state}`)
    .sort();

describe('components', () => {
  test('[SM-46] [SM-60] one that waits for a reboot stays activating, and is active after it', async () => {
    const host = new Host();
    const firmware = new Firmware();
    const launcher = await boot(host, firmware);
    expect(told(launcher)).toEqual(['boot 1.0.0 active']);
    await launcher.update({ start: [anInstance('a'), component('2.0.0')], stop: [] }, signal);
    await launcher.settled(5000, signal);
    expect(told(launcher)).toEqual(['a 1.0.0 active', 'boot 1.0.0 active', 'fw 2.0.0 activating']);
    expect(host.log).toEqual(['start a 1.0.0', 'reboot']);
    expect(host.reboots).toEqual([['version 2.0.0']]);

    const changes: string[] = [];
    const after = await boot(host, firmware);
    after.board.onChange(({ status }) => changes.push(`${status.ident.itemId} ${status.state}`));
    expect(told(after)).toEqual(['a 1.0.0 active', 'fw 2.0.0 active']);
    expect(firmware.log).toEqual(['start 2.0.0']);
    await after.update({ start: [anInstance('a'), component('2.0.0')], stop: [] }, signal);
    expect(firmware.log).toEqual(['start 2.0.0']);
    expect(changes).toEqual([]);
  });

  test('[SM-46] a refusal is told with its reason beside what runs, and what the runtime says later counts', async () => {
    const host = new Host();
    const firmware = new Firmware();
    const launcher = await boot(host, firmware);
    firmware.failure = new AosError('wrongState', 'version 0.9.0 is lower');
    await launcher.update({ start: [component('0.9.0')], stop: [] }, signal);
    expect(told(launcher)).toEqual(['boot 1.0.0 active', 'fw 0.9.0 failed']);
    expect(launcher.board.get(component('0.9.0').ident)).toMatchObject({
      because: 'version 0.9.0 is lower',
      status: { error: { aosCode: ERROR_CODES.wrongState } },
    });
    firmware.failure = undefined;
    await launcher.update({ start: [component('2.0.0')], stop: [] }, signal);
    firmware.tell({ ident: component('2.0.0').ident, state: 'failed', because: 'no good' });
    expect(told(launcher)).toEqual(['boot 1.0.0 active', 'fw 2.0.0 failed']);
  });

  test('[SM-46] firmware that is known late is told then, once, with all of it', async () => {
    const host = new Host();
    const firmware = new Firmware();
    firmware.stands = { info: component('', { ident: STANDING.ident }), state: 'failed', because: 'no slots' };
    const launcher = await boot(host, firmware);
    expect(told(launcher)).toEqual(['boot  failed']);
    const changes: string[] = [];
    launcher.board.onChange(({ status }) => changes.push(`${status.version} ${status.state}`));
    firmware.stands = { info: STANDING, state: 'active', because: 'they came' };
    firmware.tellStanding();
    expect(changes).toEqual(['1.0.0 active']);
  });

  test("[SM-46] what takes the place of the node's own firmware ends it, and gives it back when it goes", async () => {
    const host = new Host();
    const firmware = new Firmware();
    firmware.installed = component('2.0.0');
    const launcher = await boot(host, firmware);
    expect(told(launcher)).toEqual([]);
    await launcher.update({ start: [component('2.0.0')], stop: [] }, signal);
    const gone = component('2.0.0').ident;
    await launcher.update({ start: [], stop: [gone] }, signal);
    expect(told(launcher)).toEqual(['boot 1.0.0 active']);
    expect(firmware.log).toEqual(['start 2.0.0', 'stop']);
  });

  test('[SM-45] it has no network, and no measured usage, and an offline TTL does not concern it', async () => {
    const host = new Host();
    host.items.set('fw', anItem('fw', { itemConfig: { offlineTtlMs: 1 } as never }));
    const firmware = new Firmware();
    const launcher = await boot(host, firmware);
    launcher.offline(0);
    await launcher.update({ start: [component('2.0.0')], stop: [] }, signal);
    await launcher.settled(5000, signal);
    expect(launcher.running()).toEqual([]);
    expect(told(launcher)).toEqual(['boot 1.0.0 active', 'fw 2.0.0 activating']);
    await launcher.update({ start: [], stop: [component('2.0.0').ident] }, signal);
    expect([host.networksStopped, host.released]).toEqual([[], []]);
  });

  test('[SM-45] services and components go to runtimes of their kind alone', async () => {
    const launcher = await boot(new Host(), new Firmware());
    const lost = component('2.0.0', { runtimeId: RUNTIME_ID });
    await launcher.update({ start: [lost, anInstance('a', { runtimeId: FIRMWARE_ID })], stop: [] }, signal);
    const messages = [lost, anInstance('a')].map(({ ident }) => launcher.board.get(ident)?.because);
    expect(messages).toEqual(['runtime fake runs services, no component', 'runtime boot runs components, no service']);
  });
});

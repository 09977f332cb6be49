/** One suite, three subjects: what an instance runs in makes no difference. Needs root, conmon, crun and runc. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { InstanceChange } from '../launcher/index.ts';
import type { InstanceInfo } from '../model.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { GuestRuntime, Hypervisor } from './for-tests/guest-runtime.ts';
import { type Behaviour, type RuntimeSubject, runtimeSuite } from './for-tests/runtime.suite.ts';
import { LOOPBACK, RuntimeWorld, service } from './runtime-for-tests.ts';

const COMMANDS: Readonly<Record<Behaviour, readonly string[]>> = {
  lives: ['/bin/sleep', '1000'],
  falls: ['/bin/sh', '-c', 'sleep 0.3; exit 3'],
  'cannot start': ['/bin/nothing'],
};
const parameters = (startBurst = 3) => ({ startBurst, startInterval: '1h', restartInterval: '100ms' });

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error('it never came about');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

class Containers implements RuntimeSubject {
  readonly #world: RuntimeWorld;
  readonly #type: string;
  readonly #ids = new Set<string>();

  private constructor(world: RuntimeWorld, type: string) {
    this.#world = world;
    this.#type = type;
  }

  static async open(type: string): Promise<Containers> {
    return new Containers(await RuntimeWorld.create([], type), type);
  }

  get runtime() {
    return this.#world.runtime;
  }

  get changes() {
    return this.#world.changes;
  }

  until(accept: (changes: readonly InstanceChange[]) => boolean) {
    return this.#world.until(accept);
  }

  info() {
    return this.#world.info();
  }

  request(info: InstanceInfo, behaviour: Behaviour, startBurst?: number) {
    const config = { runParameters: parameters(startBurst), stopTimeout: '1s' };
    return { info, item: service('', { config, image: { cmd: COMMANDS[behaviour] } }), network: LOOPBACK };
  }

  identity(id: string) {
    const [pid] = this.#world.cgroups.processes(cgroupPathOf(id));
    if (pid !== undefined) this.#ids.add(id);
    return pid?.toString();
  }

  end(id: string) {
    this.#world.cgroups.kill(cgroupPathOf(id));
  }

  async untilEnded(id: string) {
    await until(() => readdirSync(join(this.#world.directory, 'runtime', id, 'exit')).includes(id));
  }

  leave() {
    return this.runtime.close();
  }

  async reopen() {
    await this.leave();
    await this.#world.open([], this.#type);
  }

  async left() {
    const inside = (name: string) => {
      const path = join(this.#world.directory, name);
      return existsSync(path) ? readdirSync(path).map((id) => `${name}/${id}`) : [];
    };
    const processes = [...this.#ids].flatMap((id) => this.#world.cgroups.processes(cgroupPathOf(id)).map(String));
    return [...inside('runtime'), ...inside('oci'), ...processes];
  }

  close() {
    return this.#world.close();
  }
}

class Guests implements RuntimeSubject {
  readonly changes: InstanceChange[] = [];
  readonly #hypervisor = new Hypervisor();
  runtime = this.#open();

  #open(): GuestRuntime {
    const runtime = new GuestRuntime(this.#hypervisor);
    runtime.onChange((change) => void this.changes.push(change));
    return runtime;
  }

  until(accept: (changes: readonly InstanceChange[]) => boolean) {
    return until(() => accept(this.changes));
  }

  info(): InstanceInfo {
    const ident = {
      itemId: 'guest',
      subjectId: randomUUID(),
      instance: 0,
      type: 'service',
      preinstalled: false,
    } as const;
    const version = '1.0.0';
    const { runtimeId } = this.runtime;
    const nobody = { uid: 5001, gid: 5001, priority: 0, storagePath: '', statePath: '', envVars: [] };
    return { ident, version, manifestDigest: 'sha256:00', ownerId: 'owner', runtimeId, ...nobody };
  }

  request(info: InstanceInfo, behaviour: Behaviour, startBurst?: number) {
    const item = service('', { config: { runParameters: parameters(startBurst) }, image: { cmd: [behaviour] } });
    return { info, item, network: LOOPBACK };
  }

  identity(id: string) {
    const guest = this.#hypervisor.guests.get(id);
    return guest?.exitCode === undefined ? guest?.boot.toString() : undefined;
  }

  end(id: string) {
    this.#hypervisor.end(id, 137);
  }

  async untilEnded() {
    // It ends at once.
  }

  async leave() {
    this.runtime.close();
  }

  async reopen() {
    await this.leave();
    this.runtime = this.#open();
  }

  async left() {
    return [...this.#hypervisor.guests.keys()];
  }

  async close() {
    this.runtime.close();
  }
}

runtimeSuite('containers by crun', () => Containers.open('crun'));
runtimeSuite('containers by runc', () => Containers.open('runc'));
runtimeSuite('guests of a hypervisor', async () => new Guests());

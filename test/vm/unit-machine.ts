/**
 * A unit as a user has it: a machine with the package installed, on a network where a cloud and an operator's aosctl
 * are, and nothing else.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLOUD_PORTS } from '../../devenv/cloud.ts';
import { bundleOf } from '../../devenv/daemon-process.ts';
import { type Cloud, startCloud } from '../../devenv/index.ts';
import type { CloudUnit } from '../../src/cli/cloud-views.ts';
import { instanceId } from '../../src/core/index.ts';
import { busyboxLayer, type Entry, writeImage } from '../e2e/image.ts';
import { type ComponentLayer, writeComponent } from './component-image.ts';
import { unitImage } from './fixture.ts';
import { Machine, type MachineOptions } from './machine.ts';
import { MachineNetwork } from './network.ts';

/** Where the default configuration expects the authority of the cloud. */
export const CA_FILE = '/usr/share/ca-certificates/aos/AosRootCA.crt';
const PROVISIONING_PORT = 8089;
const SUBJECT = 'default';

/** Everything in the machine takes ten times as long as on a board, and a host that has other work stretches that. */
const PATIENCE_MS = 240_000;
/** Each look is a process on a host that has better things to do. */
const LOOK_AGAIN_MS = 2000;
const DEPLOY_WAIT_S = 240;

export interface ItemOptions {
  readonly files?: readonly Entry[];
  /** Item configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export class UnitMachine {
  readonly machine: Machine;
  readonly network: MachineNetwork;
  readonly cloud: Cloud;
  readonly #directory: string;
  readonly #profile: string;
  #images = 0;
  #systemId: string | undefined;

  private constructor(directory: string, network: MachineNetwork, cloud: Cloud, machine: Machine) {
    this.#directory = directory;
    this.#profile = join(directory, 'aosctl.json');
    this.network = network;
    this.cloud = cloud;
    this.machine = machine;
  }

  /** A cloud, and a machine that is booted and blank but for the cloud's authority. */
  static async create(options: Omit<MachineOptions, 'image' | 'network'> = {}): Promise<UnitMachine> {
    const image = unitImage();
    const directory = await mkdtemp(join(tmpdir(), 'aos-vm-unit-'));
    const network = await MachineNetwork.create();
    const { hostAddress, name: namespace } = network;
    let cloud: Cloud | undefined;
    let machine: Machine | undefined;
    try {
      const config = { hostName: hostAddress, listenHost: hostAddress, ports: CLOUD_PORTS };
      cloud = await startCloud(join(directory, 'cloud'), { config, namespace, endsWithUs: true, verbose: 'debug' });
      const files = { [CA_FILE]: await readFile(cloud.layout.rootCa), ...options.files };
      machine = await Machine.create({ ...options, files, image, network });
      const unit = new UnitMachine(directory, network, cloud, machine);
      await unit.#writeProfile();
      await machine.boot();
      return unit;
    } catch (error) {
      await machine?.close();
      await cloud?.stop();
      await network.remove();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.machine.close();
    await this.cloud.stop();
    await this.network.remove();
    await rm(this.#directory, { recursive: true, force: true });
  }

  get systemId(): string {
    if (this.#systemId === undefined) throw new Error('the unit has not been provisioned');
    return this.#systemId;
  }

  /** Runs the operator's aosctl beside the cloud; throws its words when it fails. */
  async ctl(...args: readonly string[]): Promise<string> {
    const words = [...this.network.enter, process.execPath, bundleOf('aosctl'), '--profile', this.#profile, ...args];
    return new Promise((resolve, reject) => {
      execFile(words[0]!, words.slice(1), { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        if (error) reject(this.machine.failure(`aosctl ${args.join(' ')}: ${error.code}: ${stderr}${stdout}`));
        else resolve(stdout);
      });
    });
  }

  /** From blank to online. */
  async provision(): Promise<void> {
    // aosctl does not wait for long for a board that is still starting.
    await this.machine.until('IAM is ready', 'systemctl is-active aos-iam-prov.service');
    const address = this.machine.link!.address.split('/')[0]!;
    await this.ctl('provision', `${address}:${PROVISIONING_PORT}`, '--wait', String(PATIENCE_MS / 1000));
    this.#systemId = (await this.machine.must('cat /etc/machine-id')).trim();
    await this.untilCloud('the unit is online', (unit) => unit.online);
  }

  /** Publishes busybox with a script as a version of an item. */
  async publish(itemId: string, version: string, script: string, options: ItemOptions = {}): Promise<void> {
    this.#images += 1;
    const directory = join(this.#directory, `image-${this.#images}`);
    await writeImage(directory, {
      cmd: ['/bin/sh', '-c', script],
      layers: [busyboxLayer(), [{ name: 'version', content: `${version}\n` }, ...(options.files ?? [])]],
    });
    const words = ['publish', directory, '--id', itemId, '--version', version];
    if (options.config) {
      const config = join(this.#directory, `image-${this.#images}.json`);
      await writeFile(config, JSON.stringify(options.config));
      words.push('--config', config);
    }
    await this.ctl(...words);
  }

  /** Publishes one layer as a version of a component for a runtime. */
  async publishComponent(runtime: string, itemId: string, version: string, layer: ComponentLayer): Promise<void> {
    this.#images += 1;
    const directory = join(this.#directory, `image-${this.#images}`);
    await writeComponent(directory, layer);
    const config = join(this.#directory, `image-${this.#images}.json`);
    await writeFile(config, JSON.stringify({ runtimes: [{ codename: runtime }] }));
    const item = ['--type', 'component', '--id', itemId, '--version', version, '--config', config];
    await this.ctl('publish', directory, ...item);
  }

  /** Resolves when the version is active. */
  async deploy(itemId: string, version: string): Promise<void> {
    await this.want(itemId, version, '--wait', String(DEPLOY_WAIT_S));
  }

  /** Tells the cloud only. */
  async want(itemId: string, version: string, ...more: readonly string[]): Promise<void> {
    await this.ctl('deploy', itemId, '--version', version, '--unit', this.systemId, ...more);
  }

  /** Asks the cloud for the unit until the answer is accepted. */
  async untilCloud(what: string, accept: (unit: CloudUnit) => boolean, patienceMs = PATIENCE_MS): Promise<CloudUnit> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const unit = JSON.parse(await this.ctl('status', '--unit', this.systemId, '--json')) as CloudUnit;
      if (accept(unit)) return unit;
      if (performance.now() > deadline) {
        throw this.machine.failure(`it never came about that ${what}; the cloud says ${JSON.stringify(unit, null, 1)}`);
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  async #writeProfile(): Promise<void> {
    const { layout, endpoints } = this.cloud;
    const operator = { ca: layout.rootCa, cert: layout.operatorCertificate, key: layout.operatorKey };
    await writeFile(this.#profile, JSON.stringify({ cloud: endpoints.restUrl, ...operator }));
  }
}

/** Cgroup of the only instance of an item, below `/sys/fs/cgroup`; named after the instance. */
export function cgroupOf(itemId: string): string {
  return `/sys/fs/cgroup/system.slice/system-aos.slice/system-aos-service.slice/${instanceIdOf(itemId)}`;
}

export function instanceIdOf(itemId: string): string {
  return instanceId({ itemId, subjectId: SUBJECT, instance: 0 });
}

/**
 * A cloud, a unit and an operator for end-to-end tests: real daemons, a real token, real containers, nothing but the
 * loopback interface, everything in one temporary directory.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleOf } from '../../devenv/daemon-process.ts';
import {
  type Cloud,
  type CloudOptions,
  startCloud,
  startUnit,
  type Unit,
  type UnitOptions,
} from '../../devenv/index.ts';
import { CloudClient } from '../../src/cli/cloud-client.ts';
import type { CloudUnit } from '../../src/cli/cloud-views.ts';
import { instancesOf } from '../../src/cli/cloud-views.ts';
import { askControl, type InstanceReport, type UnitReport } from '../../src/daemon/index.ts';
import { type Answer, runProgram } from '../component/run-program.ts';
import { until } from '../component/until.ts';
import { busyboxLayer, type ImageOptions, noise, writeImage } from './image.ts';

/** What the SM tells of an instance on its control socket. */
export interface RunningInstance {
  readonly id: string;
  readonly itemId: string;
  readonly instance: number;
  readonly pid?: number;
  readonly state: string;
  readonly bundleDir: string;
}

export interface WorldOptions {
  readonly cloud?: CloudOptions;
  readonly unit?: Partial<UnitOptions>;
  /** A network of its own for the unit, in which instances reach each other as on a device. */
  readonly hasOwnNetwork?: boolean;
}

/** Generous: machines that test are busy. Nothing waits for it unless something is broken. */
const PATIENCE_MS = 60_000;
/** Changes of the unit's status are gathered for ten seconds otherwise, and most stories wait for them. */
const QUICK = { unitStatusSendTimeout: '1s' };

export class World {
  readonly directory: string;
  readonly systemId: string;
  readonly cloud: Cloud;
  readonly unit: Unit;
  readonly rest: CloudClient;
  readonly #profile: string;
  #images = 0;

  private constructor(directory: string, systemId: string, cloud: Cloud, unit: Unit, profile: string) {
    this.directory = directory;
    this.systemId = systemId;
    this.cloud = cloud;
    this.unit = unit;
    this.#profile = profile;
    this.rest = new CloudClient(operatorOf(cloud));
  }

  /** A cloud and a blank unit. */
  static async create(options: WorldOptions = {}): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-e2e-'));
    const cloud = await startCloud(join(directory, 'cloud'), { restartPauseMs: 50, ...options.cloud });
    try {
      const systemId = options.unit?.identity?.systemId ?? `unit-${directory.slice(-6).toLowerCase()}`;
      const unit = await startUnit(join(directory, 'unit'), {
        caFile: cloud.layout.rootCa,
        restartPauseMs: 50,
        verbose: 'debug',
        ...(options.hasOwnNetwork && { ownNetwork: { cloudPorts: cloud.ports } }),
        ...options.unit,
        config: { ...options.unit?.config, cm: { ...QUICK, ...options.unit?.config?.cm } },
        identity: { ...options.unit?.identity, systemId },
      });
      const profile = join(directory, 'aosctl.json');
      const socket = unit.layout.sockets.cm;
      await writeFile(profile, JSON.stringify({ ...operatorOf(cloud), unit: systemId, socket }));
      return new World(directory, systemId, cloud, unit, profile);
    } catch (error) {
      await cloud.stop();
      throw error;
    }
  }

  /** Ends everything. The directory with the logs stays when `keep` is set, and is named. */
  async close(keep = false): Promise<void> {
    this.rest.close();
    await this.unit.stop();
    await this.cloud.stop();
    if (keep || process.env.AOS_KEEP_WORLDS) console.error(`kept for a look: ${this.directory}`);
    else await rm(this.directory, { recursive: true, force: true });
  }

  /** Runs aosctl as its own process, with the operator's profile. */
  ctl(...args: string[]): Promise<Answer> {
    return runProgram(bundleOf('aosctl'), ['--profile', this.#profile, ...args]);
  }

  /** Starts aosctl as a process that goes on: what it says can be waited for. */
  start(...args: string[]) {
    const child = spawn(process.execPath, [bundleOf('aosctl'), '--profile', this.#profile, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    const ended = once(child, 'exit').then(([code]) => code as number | null);
    return {
      process: child,
      ended,
      /** All that it has said on both outputs. */
      said: () => text,
      until: (pattern: RegExp) =>
        this.until(
          `aosctl ${args[0]} says ${pattern}`,
          async () => text,
          (said) => pattern.test(said),
        ),
    };
  }

  /** As `ctl`, and throws its words when it fails. */
  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.ctl(...args);
    if (code !== 0) throw new Error(`aosctl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  /** From blank to online. */
  async provision(): Promise<void> {
    const since = this.unit.supervisor.history.length;
    await this.must('provision', this.unit.provisioningAddress, '--retry-delay', '1');
    for (const program of ['aos-iam', 'aos-cm', 'aos-sm']) {
      await this.unit.supervisor.waitFor(
        (event) => event.kind === 'ready' && event.program === program,
        PATIENCE_MS,
        since,
      );
    }
    await this.untilCloud('the unit is online', (unit) => unit.online);
  }

  deploy(itemId: string, version: string, ...more: string[]): Promise<string> {
    return this.must('deploy', itemId, '--version', version, '--unit', this.systemId, '--wait', '60', ...more);
  }

  /** Asks again until the answer is accepted; answers it. */
  until<T>(what: string, ask: () => Promise<T>, accept: (value: T) => boolean, patienceMs?: number): Promise<T> {
    return until(what, ask, accept, patienceMs);
  }

  cloudUnit(): Promise<CloudUnit> {
    return this.rest.get<CloudUnit>(`/api/units/${this.systemId}`);
  }

  untilCloud(what: string, accept: (unit: CloudUnit) => boolean): Promise<CloudUnit> {
    return this.until(what, () => this.cloudUnit(), accept);
  }

  /** What the unit says of itself. */
  untilUnit(what: string, accept: (report: UnitReport) => boolean): Promise<UnitReport> {
    return this.until(what, () => this.unit.status(), accept);
  }

  /** Instances of an item as the cloud knows them. */
  async cloudInstances(itemId: string): Promise<InstanceReport[]> {
    return instancesOf(await this.cloudUnit()).filter((instance) => instance.itemId === itemId);
  }

  /** What runs on the node. */
  async running(itemId?: string): Promise<RunningInstance[]> {
    const all = await askControl<RunningInstance[]>(this.unit.layout.sockets.sm, '/instances');
    return itemId === undefined ? all : all.filter((instance) => instance.itemId === itemId);
  }

  /** The process of the only instance of an item, once it is active. */
  async pidOf(itemId: string): Promise<number> {
    const found = await this.until(
      `one instance of ${itemId} runs`,
      () => this.running(itemId),
      (list) => list.filter((entry) => entry.state === 'active' && entry.pid !== undefined).length === 1,
    );
    return found.find((entry) => entry.state === 'active')!.pid!;
  }

  /** What the file `version` of a busybox image says inside the only instance of an item. */
  async versionOf(itemId: string): Promise<string> {
    return (await readFile(`/proc/${await this.pidOf(itemId)}/root/version`, 'utf8')).trim();
  }

  /** The cloud sees exactly this version, active. */
  untilActive(itemId: string, version: string): Promise<InstanceReport[]> {
    return this.until(
      `${itemId} ${version} is active, and nothing else of it`,
      () => this.cloudInstances(itemId),
      (list) => list.length > 0 && list.every((entry) => entry.version === version && entry.state === 'active'),
    );
  }

  /** Asks for a version of an item, and does not wait for it. */
  wish(itemId: string, version: string): Promise<unknown> {
    return this.rest.send('PUT', `/api/units/${this.systemId}/deployments/${itemId}`, { version });
  }

  /** Publishes an image made of busybox as a version of an item; `noiseBytes` make its blobs bigger. */
  async publishBusybox(itemId: string, version: string, config: object = {}, noiseBytes = 0): Promise<void> {
    const layers = [
      busyboxLayer(),
      [
        { name: 'version', content: `${itemId} ${version}\n` },
        { name: 'noise', content: noise(noiseBytes, this.#images) },
      ],
    ];
    const cmd = ['/bin/sh', '-c', `echo ${itemId} ${version}; while :; do sleep 1000; done`];
    await this.publishImage(itemId, version, { cmd, layers }, config);
  }

  /** Publishes an image as a version of an item. */
  async publishImage(itemId: string, version: string, image: ImageOptions, config: object = {}): Promise<void> {
    this.#images += 1;
    const directory = await writeImage(join(this.directory, `image-${this.#images}`), image);
    const configFile = join(directory, 'item.json');
    await writeFile(configFile, JSON.stringify(config));
    await this.must('publish', directory, '--id', itemId, '--version', version, '--config', configFile);
  }

  /** The text of all logs of the unit and of the cloud. */
  async logs(): Promise<string> {
    const directories = [this.unit.layout.logs, this.cloud.layout.logs];
    const texts: string[] = [];
    for (const directory of directories) {
      for (const name of await readdir(directory)) texts.push(await readFile(join(directory, name), 'utf8'));
    }
    return texts.join('\n');
  }
}

function operatorOf(cloud: Cloud) {
  const { layout, endpoints } = cloud;
  return { cloud: endpoints.restUrl, ca: layout.rootCa, cert: layout.operatorCertificate, key: layout.operatorKey };
}

/** A node with a real aos-sm process and real containers; IAM and CM are scripted, blobs come over HTTP. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { mountsInside } from '../../devenv/leftovers.ts';
import { OwnNetwork } from '../../devenv/own-network.ts';
import { PROJECT_ROOT } from '../../devenv/project.ts';
import { buildProgram } from '../../scripts/build.ts';
import { iam, sm } from '../../src/api/contracts.ts';
import { ApiServer, identMessage } from '../../src/api/index.ts';
import { digestOf, type InstanceIdent, instanceId, runtimeId, silentLogger } from '../../src/core/index.ts';
import { askControl } from '../../src/daemon/index.ts';
import { ScriptedCm, type ScriptedStream, tlsIdentity } from '../../src/sm/client/scripted-cm-for-tests.ts';
import type { nodeReport } from '../../src/sm/report.ts';
import type { RunningInstance } from '../../src/sm/runtime/index.ts';
import { makeCertificate } from '../../src/storage/certificates-for-tests.ts';
import { busyboxLayer, type Entry, type ImageOptions, writeImage } from '../e2e/image.ts';

const run = promisify(execFile);

/** Generous: machines that test are busy. */
const START_TIMEOUT_MS = 150_000;
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

export interface ServiceOptions {
  readonly script?: string;
  /** In place of a script. */
  readonly cmd?: readonly string[];
  readonly itemConfig?: Record<string, unknown>;
  readonly files?: readonly Entry[];
  readonly image?: Pick<ImageOptions, 'env' | 'config'>;
}

export interface WantedService {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly digest: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly storagePath?: string;
  readonly statePath?: string;
  readonly monitoring?: MessageInitShape<typeof sm.MonitoringParametersSchema>;
}

/** Builds aos-sm for one run of tests; remove the directory afterwards. */
export async function buildSm(): Promise<{ readonly bundle: string; readonly directory: string }> {
  const cache = join(PROJECT_ROOT, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, 'sm-'));
  return { bundle: await buildProgram(PROJECT_ROOT, 'aos-sm', directory), directory };
}

export class SmNode {
  readonly directory: string;
  readonly cm: ScriptedCm;
  /** Instances with permissions, as the scripted IAM knows them. */
  readonly registered = new Map<string, string>();
  readonly #bundle: string;
  readonly #iam: ApiServer;
  readonly #files: Server;
  #child: ChildProcess | undefined;
  #network: OwnNetwork | undefined;
  #images = 0;
  /** Ids of everything that was ever started, for the clean-up. */
  readonly #ids = new Set<string>();

  private constructor(bundle: string, directory: string, cm: ScriptedCm, files: Server, iamServer: ApiServer) {
    this.#bundle = bundle;
    this.directory = directory;
    this.cm = cm;
    this.#files = files;
    this.#iam = iamServer;
  }

  /** With a network of its own, its instances have addresses and a firewall, and nothing of the host's is touched. */
  static async create(
    bundle: string,
    config: Record<string, unknown> = {},
    { hasOwnNetwork = false } = {},
  ): Promise<SmNode> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-sm-'));
    const cm = await ScriptedCm.open();
    const files = createServer((request, response) => {
      const digest = request.url?.slice(1) ?? '';
      const path = join(directory, 'blobs', digest);
      try {
        response.end(request.method === 'HEAD' ? undefined : readFileSync(path));
      } catch {
        response.writeHead(404).end();
      }
    }).listen(0, '127.0.0.1');
    await once(files, 'listening');
    await mkdir(join(directory, 'blobs'));
    let node!: SmNode;
    const server = await openIam(cm, directory, () => node);
    node = new SmNode(bundle, directory, cm, files, server);
    if (hasOwnNetwork) {
      const layout = { root: directory, run: join(directory, 'run'), var: join(directory, 'var') };
      const inward = [Number(cm.address.split(':')[1]), server.address.port, (files.address() as AddressInfo).port];
      node.#network = await OwnNetwork.create({ layout, inward, outward: [] });
    }
    await node.#writeFiles({ network: { mode: hasOwnNetwork ? 'full' : 'loopback' }, ...config });
    return node;
  }

  /** The network namespace of the node, by name; undefined: that of the host. */
  get namespace(): string | undefined {
    return this.#network?.namespace;
  }

  at(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  get runtimeId(): string {
    return runtimeId('crun', this.nodeId);
  }

  /** Process number of the daemon. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('aos-sm does not run');
    return pid;
  }

  /** Unique, so that instances of parallel tests have ids of their own. */
  get nodeId(): string {
    return `node-${this.directory.slice(-6)}`;
  }

  /** Starts the daemon; resolves when it is ready. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const log = openSync(this.at('sm.log'), 'a');
    const daemon = [process.execPath, this.#bundle, '-c', this.at('sm.cfg'), '-v', 'debug'];
    const [program, ...words] = this.namespace ? ['nsenter', `--net=/run/netns/${this.namespace}`, ...daemon] : daemon;
    const child = spawn(program!, words, {
      stdio: ['ignore', log, log, 'ipc'],
      env: { PATH: process.env.PATH, ...env },
    });
    closeSync(log);
    this.#child = child;
    const timer = AbortSignal.timeout(START_TIMEOUT_MS);
    const ended = once(child, 'exit').then(async () => {
      throw new Error(`aos-sm ended before it was ready:\n${await readFile(this.at('sm.log'), 'utf8')}`);
    });
    await Promise.race([once(child, 'message', { signal: timer }), ended]);
    ended.catch(() => undefined);
  }

  /** Ends the daemon; answers how. */
  async end(signal: NodeJS.Signals): Promise<number | string> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return 'it did not run';
    const gone = once(child, 'exit');
    child.kill(signal);
    const [code, by] = (await gone) as [number | null, string | null];
    return code ?? by ?? '';
  }

  /** Resolves when the daemon has ended by itself. */
  async untilEnd(): Promise<void> {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  /** A stream on which the node has introduced itself; answers the states it told. */
  async introduced(): Promise<{ readonly stream: ScriptedStream; readonly states: Record<string, string> }> {
    const stream = await this.cm.stream();
    await stream.expect('smInfo');
    const { instances } = await stream.expect('nodeInstancesStatus');
    return { stream, states: statesOf(instances) };
  }

  /** Publishes an image that runs a shell script, and tells the CM's file server; answers the manifest's digest. */
  async publish(options: ServiceOptions = {}): Promise<string> {
    this.#images += 1;
    const { script = 'while :; do sleep 1000; done', itemConfig = {}, files = [], image = {} } = options;
    const { cmd = ['/bin/sh', '-c', script] } = options;
    const layout = this.at(`image-${this.#images}`);
    await writeImage(layout, { cmd, layers: [[...busyboxLayer(), ...files]], ...image });
    const blobs = join(layout, 'blobs', 'sha256');
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8'));
    const [{ digest }] = index.manifests as [{ digest: string }];
    const manifest = JSON.parse(await readFile(join(blobs, digest.slice(7)), 'utf8'));
    const config = Buffer.from(JSON.stringify({ baseLayerIsNodeRootfs: false, ...itemConfig }));
    const descriptor = {
      mediaType: 'application/vnd.aos.item.config.v1+json',
      digest: digestOf(config),
      size: config.length,
    };
    const whole = Buffer.from(JSON.stringify({ ...manifest, aosItemConfig: descriptor }));
    for (const name of await readdir(blobs)) await this.#offer(await readFile(join(blobs, name)));
    await this.#offer(config);
    return this.#offer(whole);
  }

  service(itemId: string, digest: string, more: Partial<WantedService> = {}): WantedService {
    const ident = { itemId, subjectId: this.nodeId, instance: 0, type: 'service', preinstalled: false } as const;
    this.#ids.add(instanceId(ident));
    return { ident, version: '1.0.0', digest, ...more };
  }

  /** Sends a request; answers the states of the one answer to it. States told meanwhile are passed over. */
  async update(
    stream: ScriptedStream,
    start: readonly WantedService[],
    stop: readonly WantedService[] = [],
  ): Promise<Record<string, string>> {
    return statesOf(await this.updateAll(stream, start, stop));
  }

  /** As `update`; answers all that is told of the instances. */
  async updateAll(
    stream: ScriptedStream,
    start: readonly WantedService[],
    stop: readonly WantedService[] = [],
  ): Promise<readonly sm.InstanceStatus[]> {
    const value = create(sm.UpdateInstancesSchema, {
      startInstances: start.map(
        ({ ident, version, digest, env = {}, monitoring = {}, uid = 5000, storagePath = '', statePath = '' }) => ({
          instance: identMessage(ident),
          version,
          manifestDigest: digest,
          ownerId: 'owner',
          runtimeId: this.runtimeId,
          uid,
          gid: 5000,
          storagePath,
          statePath,
          envVars: Object.entries(env).map(([name, text]) => ({ name, value: text })),
          monitoringParameters: monitoring,
        }),
      ),
      stopInstances: stop.map(({ ident }) => identMessage(ident)),
    });
    stream.say({ case: 'updateInstances', value });
    for (;;) {
      const message = await stream.next();
      if (message.case === 'nodeInstancesStatus') return message.value.instances;
    }
  }

  instances(): Promise<RunningInstance[]> {
    return askControl<RunningInstance[]>(this.at('sm.sock'), '/instances');
  }

  /** How the node says that it does. */
  report(): Promise<ReturnType<typeof nodeReport>> {
    return askControl(this.at('sm.sock'), '/status');
  }

  /** Process numbers by item. */
  async pids(): Promise<Record<string, number | undefined>> {
    return Object.fromEntries((await this.instances()).map(({ itemId, pid }) => [itemId, pid]));
  }

  /** Ends everything and gives the host back what it had. */
  async close(): Promise<void> {
    await this.end('SIGKILL');
    for (const id of this.#ids) {
      // The one of the two that ran it knows it; both may know nothing any more.
      for (const runtime of ['crun', 'runc']) {
        await run(runtime, ['--root', this.at('oci'), 'delete', '--force', id]).catch((error: Error) => error);
      }
      await run('ip', ['netns', 'delete', id]).catch((error: Error) => error);
    }
    for (const mountPoint of mountsInside(this.directory)) await run('umount', ['--lazy', mountPoint]);
    await this.#network?.remove();
    await this.#iam.close();
    await this.cm.close();
    this.#files.closeAllConnections();
    this.#files.close();
    if (process.env.AOS_KEEP_WORLDS) console.error(`kept for a look: ${this.directory}`);
    else await rm(this.directory, { recursive: true, force: true });
  }

  async #offer(content: Buffer): Promise<string> {
    const digest = digestOf(content);
    await writeFile(this.at('blobs', digest), content);
    this.cm.blobs.set(digest, `http://127.0.0.1:${(this.#files.address() as AddressInfo).port}/${digest}`);
    return digest;
  }

  async #writeFiles(config: Record<string, unknown>): Promise<void> {
    const address = `localhost:${this.#iam.address.port}`;
    await writeFile(this.at('ca.pem'), this.cm.root.pem);
    await writeFile(this.at('resources.cfg'), '[{"name": "camera", "sharedCount": 1}]');
    await writeFile(
      this.at('sm.cfg'),
      JSON.stringify({
        caCert: this.at('ca.pem'),
        certStorage: 'sm',
        iamPublicServerUrl: address,
        iamProtectedServerUrl: address,
        cmServerUrl: this.cm.address,
        cmReconnectTimeout: '1s',
        workingDir: this.at('work'),
        resourcesConfigFile: this.at('resources.cfg'),
        controlSocket: this.at('sm.sock'),
        runtimes: [
          {
            plugin: 'container',
            type: 'crun',
            config: {
              runtimeDir: this.at('runtime'),
              crunStateRoot: this.at('oci'),
              stateDir: this.at('states'),
              storageDir: this.at('storages'),
            },
          },
        ],
        ...config,
      }),
    );
  }
}

function statesOf(instances: readonly sm.InstanceStatus[]): Record<string, string> {
  return Object.fromEntries(instances.map(({ instance, state }) => [instance?.itemId ?? '', state]));
}

/** Public and protected services on one port, which asks for no certificate. */
async function openIam(cm: ScriptedCm, directory: string, node: () => SmNode): Promise<ApiServer> {
  const certificate = await makeCertificate('sm', { issuer: cm.root });
  const pem = certificate.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  await writeFile(join(directory, 'sm.pem'), certificate.pem);
  await writeFile(join(directory, 'sm-key.pem'), pem);
  const identity = tlsIdentity(await makeCertificate('iam', { issuer: cm.root, dnsName: 'localhost' }));
  return ApiServer.open({
    listen: '127.0.0.1:0',
    tls: { identity, ca: cm.root.pem, clientCertificate: 'none' },
    logger: silentLogger,
    routes: (router) => {
      router.service(iam.IAMPublicCertService, {
        getCert: ({ type }) => ({
          type,
          certUrl: `file:${join(directory, 'sm.pem')}`,
          keyUrl: `file:${join(directory, 'sm-key.pem')}`,
        }),
        async *subscribeCertChanged(_, { signal }) {
          await once(signal, 'abort');
          yield* [];
        },
      });
      router.service(iam.IAMPublicCurrentNodeService, {
        getCurrentNodeInfo: () => ({
          nodeId: node().nodeId,
          nodeType: 'main',
          maxDmips: 10_000n,
          totalRam: 1_000_000_000n,
          cpus: [{ numCores: 2n, numThreads: 2n, archInfo: { architecture: ARCHITECTURE } }],
          partitions: [{ name: 'services', path: directory, totalSize: 1_000_000_000n }],
        }),
      });
      router.service(iam.IAMPermissionsService, {
        registerInstance: ({ instance }) => {
          const secret = `secret of ${instance?.itemId}`;
          node().registered.set(instance?.itemId ?? '', secret);
          return { secret };
        },
        unregisterInstance: ({ instance }) => {
          node().registered.delete(instance?.itemId ?? '');
          return {};
        },
      });
    },
  });
}

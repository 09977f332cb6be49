/** A node with a real aos-iam process, a SoftHSM token and everything else in one temporary directory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { PROJECT_ROOT } from '../../devenv/project.ts';
import { engineEnvironment, softhsmConf, softhsmLibrary } from '../../devenv/token.ts';
import { buildProgram } from '../../scripts/build.ts';
import { iam } from '../../src/api/contracts.ts';
import { Channel, type ClientTls, readErrorMessage } from '../../src/api/index.ts';
import { askControl } from '../../src/daemon/index.ts';
import type { IamStatus } from '../../src/iam/servers/status.ts';
import type { TestCa } from './test-ca.ts';

/** Generous: machines that test are busy. */
const START_TIMEOUT_MS = 30_000;

export interface IamNodeOptions {
  readonly ca: TestCa;
  readonly bundle: string;
  readonly nodeId?: string;
  /** Absent: this is the main node. */
  readonly main?: IamNode;
  /** Types whose keys are in files; those of the others are in the token. */
  readonly softwareTypes?: readonly string[];
  /** Put over the configuration; called with the directory of the node. */
  readonly config?: (directory: string) => Record<string, unknown>;
}

/** Builds aos-iam for one run of tests; remove the directory afterwards. */
export async function buildIam(): Promise<{ readonly bundle: string; readonly directory: string }> {
  const cache = join(PROJECT_ROOT, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, 'iam-'));
  return { bundle: await buildProgram(PROJECT_ROOT, 'aos-iam', directory), directory };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export class IamNode {
  readonly nodeId: string;
  readonly directory: string;
  readonly ports: { readonly public: number; readonly protected: number };
  readonly #options: IamNodeOptions;
  readonly #channels = new Set<Channel>();
  #child: ChildProcess | undefined;

  private constructor(options: IamNodeOptions, directory: string, ports: IamNode['ports']) {
    this.#options = options;
    this.nodeId = options.nodeId ?? 'main-node';
    this.directory = directory;
    this.ports = ports;
  }

  static async create(options: IamNodeOptions): Promise<IamNode> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-iam-'));
    const ports = { public: await freePort(), protected: await freePort() };
    const node = new IamNode(options, directory, ports);
    await node.#writeFiles();
    return node;
  }

  at(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** The process, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get statePath(): string {
    return this.at('.provisionstate');
  }

  get pinPath(): string {
    return this.at('iam', '.usrpin');
  }

  /** Where the keys are that are in files. */
  get keys(): string {
    return this.at('iam', 'keys');
  }

  get socket(): string {
    return this.at('iam.sock');
  }

  /** Starts it in the mode that the state file asks for; resolves when it is ready, rejects when it ends before. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const log = openSync(this.at('log'), 'a');
    const provisioning = existsSync(this.statePath) ? [] : ['-provisioning'];
    const child = spawn(
      process.execPath,
      [this.#options.bundle, '-c', this.at('iam.cfg'), ...provisioning, '-v', 'debug'],
      {
        stdio: ['ignore', log, log, 'ipc'],
        env: { PATH: process.env.PATH, ...engineEnvironment(), SOFTHSM2_CONF: this.at('softhsm2.conf'), ...env },
      },
    );
    closeSync(log);
    this.#child = child;
    const abort = AbortSignal.timeout(START_TIMEOUT_MS);
    const how = await Promise.race([
      once(child, 'message', { signal: abort }).then(() => 'ready'),
      once(child, 'exit', { signal: abort }).then(([code, signal]) => `it ended with ${signal ?? code}`),
    ]);
    if (how !== 'ready') {
      this.#child = undefined;
      throw new Error(`aos-iam did not start: ${how}\n${await this.log()}`);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    for (const channel of this.#channels) channel.close();
    this.#channels.clear();
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const gone = once(child, 'exit');
    child.kill(signal);
    return (await gone)[0] as number | null;
  }

  /** Sends a signal to the process; it goes on being ours. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Resolves when the process has ended by itself. */
  async exited(): Promise<void> {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  log(): Promise<string> {
    return readFile(this.at('log'), 'utf8');
  }

  status(): Promise<IamStatus> {
    return askControl<IamStatus>(this.socket, '/status');
  }

  /** A client; without `tls` in plain text. */
  client<S extends DescService>(service: S, server: 'public' | 'protected', tls?: ClientTls): Client<S> {
    const channel = new Channel({ address: `localhost:${this.ports[server]}`, ...(tls ? { tls } : {}) });
    this.#channels.add(channel);
    return channel.client(service);
  }

  /** The files that a blank node has. */
  async #writeFiles(): Promise<void> {
    const { ca, config } = this.#options;
    await mkdir(this.at('tokens'), { recursive: true });
    await mkdir(this.at('iam'), { recursive: true });
    const layout = { tokens: this.at('tokens') } as Parameters<typeof softhsmConf>[0];
    await writeFile(this.at('softhsm2.conf'), softhsmConf(layout));
    await writeFile(this.at('ca.crt'), ca.root);
    await writeFile(this.at('machine-id'), `${this.nodeId}\n`);
    await writeFile(this.at('system-id'), 'unit-1\n');
    await writeFile(this.at('unit_model'), 'test-model;1.2.3\n');
    await writeFile(this.at('subjects'), 'subject-1\nsubject-2\n');
    await this.writeConfig(config?.(this.directory));
  }

  async writeConfig(changes: Record<string, unknown> = {}): Promise<void> {
    await writeFile(this.at('iam.cfg'), JSON.stringify({ ...this.#config(), ...changes }, null, 2));
  }

  #config(): Record<string, unknown> {
    const { main } = this.#options;
    return {
      caCert: this.at('ca.crt'),
      certStorage: 'iam',
      iamPublicServerURL: `127.0.0.1:${this.ports.public}`,
      iamProtectedServerURL: `127.0.0.1:${this.ports.protected}`,
      ...(main
        ? {
            mainIAMPublicServerURL: `localhost:${main.ports.public}`,
            mainIAMProtectedServerURL: `localhost:${main.ports.protected}`,
            nodeReconnectInterval: '1s',
          }
        : {
            identifier: {
              plugin: 'fileidentifier',
              params: {
                systemIDPath: this.at('system-id'),
                unitModelPath: this.at('unit_model'),
                subjectsPath: this.at('subjects'),
              },
            },
          }),
      workingDir: this.at('iam'),
      runtimeDir: this.at('run'),
      controlSocket: this.socket,
      enablePermissionsHandler: true,
      nodeInfo: {
        provisioningStatePath: this.statePath,
        nodeIDPath: this.at('machine-id'),
        nodeName: 'a node',
        nodeType: main ? 'secondary' : 'main',
        maxDMIPS: 10_000,
        architecture: 'amd64',
        os: 'linux',
        attrs: main ? { AosComponents: 'iam,sm' } : { MainNode: '', AosComponents: 'cm,iam,sm' },
        partitions: [{ name: 'services', types: ['services', 'layers'], path: this.directory }],
      },
      certModules: this.modules(),
    };
  }

  /** The certificate types that it is configured with unless a test says otherwise. */
  modules(): Record<string, unknown>[] {
    const { main } = this.#options;
    return [
      ...(main
        ? []
        : [this.certModule('online', 'ecc', 2, 'aoscloud'), this.certModule('offline', 'rsa', 5, 'aoscloud')]),
      this.certModule('iam', 'ecc', 2, 'aoscore', BOTH),
      this.certModule('sm', 'ecc', 2, 'aoscore', BOTH),
      ...(main ? [] : [this.certModule('cm', 'ecc', 2, 'aoscore', BOTH)]),
    ];
  }

  certModule(
    id: string,
    algorithm: 'ecc' | 'rsa',
    maxItems: number,
    tokenLabel: string,
    more: Record<string, unknown> = {},
  ): Record<string, unknown> {
    if (this.#options.softwareTypes?.includes(id)) {
      return { id, plugin: 'swmodule', algorithm, maxItems, ...more, params: { directory: this.keys } };
    }
    return {
      id,
      plugin: 'pkcs11module',
      algorithm,
      maxItems,
      ...more,
      params: { library: softhsmLibrary(), tokenLabel, userPinPath: this.pinPath, modulePathInUrl: true },
    };
  }
}

const BOTH = { extendedKeyUsage: ['serverAuth', 'clientAuth'], alternativeNames: ['localhost'] };

/** Throws what the answer of IAM reports. */
export function expectDone<T extends { error?: Parameters<typeof readErrorMessage>[0] }>(answer: T): T {
  const error = readErrorMessage(answer.error);
  if (error) throw error;
  return answer;
}

/** What the provisioning tool does for one node, with the keys signed by the test's authority. */
export async function provisionNode(main: IamNode, ca: TestCa, nodeId = '', password = 'secret-1'): Promise<string[]> {
  const provisioning = main.client(iam.IAMProvisioningService, 'protected');
  const certificates = main.client(iam.IAMCertificateService, 'protected');
  expectDone(await provisioning.startProvisioning({ nodeId, password }));
  const { types } = await provisioning.getCertTypes({ nodeId });
  for (const type of types) {
    const { csr } = expectDone(await certificates.createKey({ nodeId, type, password }));
    expectDone(await certificates.applyCert({ nodeId, type, cert: await ca.sign(csr) }));
  }
  expectDone(await provisioning.finishProvisioning({ nodeId, password }));
  return types;
}

/**
 * A further node of a development unit, with its own token, IAM and SM: one with a network to the main node, or one
 * that has nothing but the message proxy.
 */
import { execFile } from 'node:child_process';
import { EventEmitter, on } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, watch, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { bundleOf, type DaemonEvent, DaemonProcess } from './daemon-process.ts';
import { type UnitLayout, unitLayout } from './layout.ts';
import { removeLeftovers } from './leftovers.ts';
import { choosePorts } from './ports.ts';
import type { Unit } from './unit.ts';
import { iamConfig, smConfig, type UnitPorts } from './unit-config.ts';
import { writeUnitFiles } from './unit-files.ts';

export type NodeDaemon = 'aos-iam' | 'aos-mp' | 'aos-sm';

export interface SecondNodeOptions {
  readonly main: Unit;
  readonly caFile: string;
  readonly nodeId: string;
  /** `host:port` of the proxy, for a node that has nothing else. Absent: over the network. */
  readonly proxyUrl?: string;
  /** Network namespace of all its daemons. */
  readonly namespace?: string;
  /** Type of its runtime, so that items can be meant for it alone. Default `crun`. */
  readonly runtimeType?: string;
  /** Further runtimes and other keys of `sm.cfg` that go with them, as for firmware. */
  readonly further?: { readonly runtimes: readonly object[] };
  /** What it announces itself to be; absent: what it is. */
  readonly architecture?: string;
  readonly env?: Readonly<Partial<Record<NodeDaemon, Readonly<Record<string, string>>>>>;
  readonly restartPauseMs?: number;
  readonly verbose?: string;
  readonly overrides?: { readonly iam?: object; readonly sm?: object; readonly mp?: object };
}

interface NodePorts extends UnitPorts {
  readonly peerIamPublic: number;
  readonly peerIamProtected: number;
  readonly peerCm: number;
  readonly peerFiles: number;
}

const PORT_NAMES: Record<keyof NodePorts, undefined> = {
  iamProtected: undefined,
  iamPublic: undefined,
  cm: undefined,
  files: undefined,
  peerIamPublic: undefined,
  peerIamProtected: undefined,
  peerCm: undefined,
  peerFiles: undefined,
};

/** A secondary node has certificates of these two types. */
const CERT_TYPES = ['iam', 'sm'];
const READY_MS = 60_000;

export class SecondNode {
  readonly layout: UnitLayout;
  readonly nodeId: string;
  readonly #options: SecondNodeOptions;
  readonly #events = new EventEmitter<{ event: [DaemonEvent] }>();
  readonly #history: DaemonEvent[] = [];
  readonly #abort = new AbortController();
  readonly #daemons: ReadonlyMap<NodeDaemon, DaemonProcess>;
  #watching: Promise<void> | undefined;
  #isProvisioning = true;

  private constructor(layout: UnitLayout, options: SecondNodeOptions) {
    this.layout = layout;
    this.nodeId = options.nodeId;
    this.#options = options;
    this.#events.setMaxListeners(0);
    this.#events.on('event', (event) => this.#history.push(event));
    const names: NodeDaemon[] =
      options.proxyUrl === undefined ? ['aos-iam', 'aos-sm'] : ['aos-iam', 'aos-mp', 'aos-sm'];
    this.#daemons = new Map(names.map((name) => [name, this.#make(name)]));
  }

  /** Writes its files and starts it, blank or as an earlier start left it. */
  static async start(directory: string, options: SecondNodeOptions): Promise<SecondNode> {
    const layout = unitLayout(directory);
    await removeLeftovers(directory);
    await mkdir(layout.etc, { recursive: true });
    const ports: NodePorts = await choosePorts(layout.ports, PORT_NAMES);
    await writeNodeFiles(layout, ports, options);
    const node = new SecondNode(layout, options);
    await rm(layout.restartRequest, { force: true });
    node.#watching = node.#watchRequests();
    await node.#startTarget();
    return node;
  }

  get provisioned(): boolean {
    return existsSync(this.layout.stateFile);
  }

  /** Everything that happened so far, oldest first. */
  get history(): readonly DaemonEvent[] {
    return this.#history;
  }

  daemon(name: NodeDaemon): DaemonProcess {
    return this.#daemons.get(name)!;
  }

  /** Resolves when the daemon runs and has said that it is ready, as of position `since` of the history. */
  async untilReady(name: NodeDaemon, since = this.#history.length): Promise<void> {
    const isReady = (event: DaemonEvent) => event.kind === 'ready' && event.program === name;
    if (this.#history.slice(since).some(isReady)) return;
    for await (const [event] of on(this.#events, 'event', { signal: AbortSignal.timeout(READY_MS) })) {
      if (isReady(event as DaemonEvent)) return;
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#watching;
    await this.#stopTarget();
    await removeLeftovers(this.layout.root);
  }

  #make(program: NodeDaemon): DaemonProcess {
    const { layout } = this;
    const { restartPauseMs = 500, verbose = 'info', namespace, env } = this.#options;
    const config = program.slice('aos-'.length);
    const like = this.#options.main.supervisor.daemon('aos-sm').spec;
    return new DaemonProcess(
      {
        ...like,
        program,
        script: bundleOf(program),
        args: () => {
          const provisioning = program !== 'aos-sm' && this.#isProvisioning;
          return ['-c', join(layout.etc, `${config}.cfg`), ...(provisioning ? ['-provisioning'] : []), '-v', verbose];
        },
        logFile: join(layout.logs, `${program}.log`),
        pidFile: join(layout.run, `${program}.pid`),
        env: { ...like.env, SOFTHSM2_CONF: layout.softhsmConf, ...env?.[program] },
        restartPauseMs,
        ...(namespace === undefined ? {} : { namespace }),
      },
      this.#events,
    );
  }

  async #startTarget(): Promise<void> {
    this.#isProvisioning = !this.provisioned;
    if (this.#isProvisioning) await promisify(execFile)(join(this.layout.etc, 'hooks', 'deprovision'));
    for (const [name, daemon] of this.#daemons) {
      if (name === 'aos-sm' && this.#isProvisioning) continue;
      const since = this.#history.length;
      await daemon.start();
      if (name !== 'aos-sm') await this.untilReady(name, since);
    }
  }

  async #stopTarget(): Promise<void> {
    for (const daemon of [...this.#daemons.values()].reverse()) await daemon.stop();
  }

  /** What `systemctl restart aos.target` is on a device. */
  async #watchRequests(): Promise<void> {
    const request = this.layout.restartRequest;
    await mkdir(dirname(request), { recursive: true });
    try {
      for await (const { filename } of watch(dirname(request), { signal: this.#abort.signal })) {
        if (filename !== basename(request) || !existsSync(request)) continue;
        await rm(request, { force: true });
        await this.#stopTarget();
        await this.#startTarget();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }
}

async function writeNodeFiles(layout: UnitLayout, ports: NodePorts, options: SecondNodeOptions): Promise<void> {
  const { main, nodeId, caFile, proxyUrl, architecture, further, overrides } = options;
  const isProxied = proxyUrl !== undefined;
  const iam = iamConfig(layout, ports) as Record<string, unknown> & {
    readonly nodeInfo: object;
    readonly certModules: readonly { readonly id: string }[];
  };
  const { identifier: _, ...secondary } = iam;
  await writeUnitFiles({
    layout,
    ports,
    identity: { systemId: main.systemId, nodeId, unitModel: 'aos-dev;1.0.0', subjects: [] },
    caFile,
  });
  const write = (name: string, config: object) =>
    writeFile(join(layout.etc, `${name}.cfg`), `${JSON.stringify(config, null, 2)}\n`);
  await write('iam', {
    ...secondary,
    mainIAMPublicServerURL: `localhost:${isProxied ? ports.peerIamPublic : main.ports.iamPublic}`,
    mainIAMProtectedServerURL: `localhost:${isProxied ? ports.peerIamProtected : main.ports.iamProtected}`,
    nodeReconnectInterval: '1s',
    nodeInfo: {
      ...{ ...iam.nodeInfo, nodeName: nodeId, nodeType: 'secondary', attrs: { AosComponents: 'iam,sm' } },
      ...(architecture === undefined ? {} : { architecture }),
    },
    certModules: iam.certModules.filter(({ id }) => CERT_TYPES.includes(id)),
    ...overrides?.iam,
  });
  const sm = smConfig(layout, ports) as { readonly runtimes: readonly object[] };
  await write('sm', {
    ...sm,
    ...further,
    runtimes: [
      ...sm.runtimes.map((runtime) => ({ ...runtime, type: options.runtimeType ?? 'crun' })),
      ...(further?.runtimes ?? []),
    ],
    cmServerUrl: `localhost:${isProxied ? ports.peerCm : main.ports.cm}`,
    ...overrides?.sm,
  });
  await rm(join(layout.etc, 'cm.cfg'), { force: true });
  if (!isProxied) return;
  await write('mp', {
    mode: 'peer',
    caCert: layout.caFile,
    workingDir: join(layout.var, 'workdirs', 'mp'),
    controlSocket: join(layout.run, 'mp.sock'),
    iamConfig: { iamPublicServerUrl: `localhost:${ports.iamPublic}` },
    peer: {
      proxyUrl,
      iamPublicListen: `127.0.0.1:${ports.peerIamPublic}`,
      iamProtectedListen: `127.0.0.1:${ports.peerIamProtected}`,
      cmListen: `127.0.0.1:${ports.peerCm}`,
      fileListen: `127.0.0.1:${ports.peerFiles}`,
    },
    ...overrides?.mp,
  });
}

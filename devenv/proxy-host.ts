/** The message proxy on the main node of a development unit: blank or normal, as the unit is. */
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askControl } from '../src/daemon/index.ts';
import { bundleOf, type DaemonEvent, DaemonProcess } from './daemon-process.ts';
import { choosePorts } from './ports.ts';
import type { Unit } from './unit.ts';

export interface ProxyHostOptions {
  readonly restartPauseMs?: number;
  readonly verbose?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly overrides?: object;
}

/** What the proxy says of itself on its control socket. */
export interface ProxyReport {
  readonly mode: string;
  readonly transport: { readonly state: string; readonly since: string; readonly lastError?: string };
}

const FOLLOW_MS = 100;

export class ProxyHost {
  /** TCP port of the transport. */
  readonly port: number;
  readonly daemon: DaemonProcess;
  readonly #socket: string;
  readonly #unit: Unit;
  readonly #events: EventEmitter<{ event: [DaemonEvent] }>;
  readonly #following: NodeJS.Timeout;
  #isProvisioned: boolean;
  #work: Promise<void> = Promise.resolve();

  private constructor(unit: Unit, port: number, options: ProxyHostOptions) {
    const { layout } = unit;
    this.port = port;
    this.#unit = unit;
    this.#socket = join(layout.run, 'mp.sock');
    this.#events = new EventEmitter();
    this.#isProvisioned = unit.supervisor.provisioned;
    const { spec } = unit.supervisor.daemon('aos-sm');
    this.daemon = new DaemonProcess(
      {
        // What a daemon needs to use the token of this node.
        ...spec,
        env: { ...spec.env, ...options.env },
        program: 'aos-mp',
        script: bundleOf('aos-mp'),
        args: () => [
          ...['-c', join(layout.etc, 'mp.cfg'), '-v', options.verbose ?? 'info'],
          ...(this.#isProvisioned ? [] : ['-provisioning']),
        ],
        logFile: join(layout.logs, 'aos-mp.log'),
        pidFile: join(layout.run, 'aos-mp.pid'),
        restartPauseMs: options.restartPauseMs ?? 500,
      },
      this.#events,
    );
    this.#following = setInterval(() => this.#follow(), FOLLOW_MS);
  }

  static async start(unit: Unit, options: ProxyHostOptions = {}): Promise<ProxyHost> {
    const { layout, ports } = unit;
    const { transport } = await choosePorts(join(layout.etc, 'proxy-ports.json'), { transport: undefined });
    const config = {
      caCert: layout.caFile,
      certStorage: 'sm',
      workingDir: join(layout.var, 'workdirs', 'mp'),
      controlSocket: join(layout.run, 'mp.sock'),
      iamConfig: {
        iamPublicServerUrl: `localhost:${ports.iamPublic}`,
        iamMainPublicServerUrl: `localhost:${ports.iamPublic}`,
        iamMainProtectedServerUrl: `localhost:${ports.iamProtected}`,
        certStorage: 'iam',
      },
      cmConfig: { cmServerUrl: `localhost:${ports.cm}` },
      vchan: { iamCertStorage: 'iam', smCertStorage: 'sm' },
      transport: { listen: `127.0.0.1:${transport}` },
      ...options.overrides,
    };
    await writeFile(join(layout.etc, 'mp.cfg'), `${JSON.stringify(config, null, 2)}\n`);
    const host = new ProxyHost(unit, transport, options);
    await host.#start();
    return host;
  }

  report(): Promise<ProxyReport> {
    return askControl<ProxyReport>(this.#socket, '/status');
  }

  async stop(): Promise<void> {
    clearInterval(this.#following);
    await this.#work;
    await this.daemon.stop();
  }

  async #start(): Promise<void> {
    await this.daemon.start();
    while (!this.daemon.isReady) await once(this.#events, 'event', { signal: AbortSignal.timeout(60_000) });
  }

  /** The units of systemd run the one or the other by the state file; a restart of the target changes which. */
  #follow(): void {
    const { provisioned } = this.#unit.supervisor;
    if (provisioned === this.#isProvisioned) return;
    this.#isProvisioned = provisioned;
    this.#work = this.#work.then(async () => {
      await this.daemon.stop();
      await this.daemon.start();
    });
  }
}

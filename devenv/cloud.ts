/** aos-cloud under supervision. */
import { EventEmitter } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleOf, type DaemonEvent, DaemonProcess } from './daemon-process.ts';
import { type CloudLayout, cloudLayout } from './layout.ts';
import { removeCloudLeftovers } from './leftovers.ts';
import { choosePorts } from './ports.ts';

/** The product's ports of a cloud. */
export const CLOUD_PORTS = { discovery: 9000, webSocket: 9001, rest: 10_000, blobs: 9002 };

export interface CloudOptions {
  /** Prefer the product's ports; tests take any free ones. */
  readonly preferProductPorts?: boolean;
  readonly verbose?: string;
  readonly restartPauseMs?: number;
  /** Network namespace that it runs in; then `config` should say where it listens. */
  readonly namespace?: string;
  /** It is killed when this process dies, however it does; otherwise it goes on until somebody cleans up. */
  readonly endsWithUs?: boolean;
  /** Other keys of its configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export interface Endpoints {
  readonly discoveryUrl: string;
  readonly webSocketUrl: string;
  readonly restUrl: string;
  readonly blobsUrl: string;
}

export interface Cloud {
  readonly layout: CloudLayout;
  readonly endpoints: Endpoints;
  /** Where it listens on this host. */
  readonly ports: readonly number[];
  /** What `aosctl` needs to reach it. */
  readonly ctlOptions: readonly string[];
  readonly process: DaemonProcess;
  /** Takes the cloud away (SIGKILL) until `comeBack`. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 30_000;

async function startAndWait(process: DaemonProcess, events: EventEmitter<{ event: [DaemonEvent] }>): Promise<void> {
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`aos-cloud is not ready after ${READY_TIMEOUT_MS} ms`)),
      READY_TIMEOUT_MS,
    );
    const listen = (event: DaemonEvent) => {
      if (event.kind === 'started') return;
      clearTimeout(timer);
      events.off('event', listen);
      if (event.kind === 'ready') resolve();
      else reject(new Error(`aos-cloud ended (${event.how}); see ${process.spec.logFile}`));
    };
    events.on('event', listen);
  });
  await process.start();
  await ready;
}

/** Starts a cloud in a directory, which it goes on from when it was there before. */
export async function startCloud(directory: string, options: CloudOptions = {}): Promise<Cloud> {
  const layout = cloudLayout(directory);
  await removeCloudLeftovers(directory);
  await mkdir(layout.root, { recursive: true, mode: 0o700 });
  const preferred = options.preferProductPorts
    ? CLOUD_PORTS
    : { discovery: undefined, webSocket: undefined, rest: undefined, blobs: undefined };
  const ports = await choosePorts(layout.ports, preferred);
  const config = { workingDir: join(layout.root, 'work'), hostName: 'localhost', listenHost: '127.0.0.1', ports };
  await writeFile(layout.config, `${JSON.stringify({ ...config, ...options.config }, null, 2)}\n`);

  const events = new EventEmitter<{ event: [DaemonEvent] }>();
  const process = new DaemonProcess(
    {
      program: 'aos-cloud',
      script: bundleOf('aos-cloud'),
      args: () => ['-c', layout.config, '-v', options.verbose ?? 'info'],
      logFile: join(layout.logs, 'aos-cloud.log'),
      pidFile: join(layout.root, 'aos-cloud.pid'),
      restartPauseMs: options.restartPauseMs ?? 1000,
      ...(options.namespace !== undefined && { namespace: options.namespace }),
      ...(options.endsWithUs && { endsWithUs: true }),
    },
    events,
  );
  await startAndWait(process, events);
  const endpoints = JSON.parse(await readFile(layout.endpoints, 'utf8')) as Endpoints;
  return {
    layout,
    endpoints,
    ports: Object.values(ports),
    ctlOptions: [
      ...['--cloud', endpoints.restUrl, '--ca', layout.rootCa],
      ...['--cert', layout.operatorCertificate, '--key', layout.operatorKey],
    ],
    process,
    goAway: () => process.stop('SIGKILL'),
    comeBack: () => startAndWait(process, events),
    stop: () => process.stop(),
  };
}

/**
 * A network of its own for a unit: bridges, addresses and the firewall of its instances live in a network namespace, so
 * that nothing of the host's network is touched and several units run side by side. The only ways across are ports of
 * the cloud that the unit reaches, and ports of the unit that the host reaches, both under `localhost`.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { UnitLayout } from './layout.ts';

const run = promisify(execFile);

/** Address of the unit's name server, as in the configuration of the product. */
export const UNIT_DNS = '10.0.0.100';

/** The namespace of the unit in a directory; the same after a crash, so that it is found again. */
export function namespaceOf(directory: string): string {
  return `aos-unit-${createHash('sha256').update(resolve(directory)).digest('hex').slice(0, 8)}`;
}

/** Removes the namespace with everything in it; one that is not there is no error. */
export async function removeNamespace(directory: string): Promise<void> {
  const name = namespaceOf(directory);
  if (!existsSync(join('/run/netns', name))) return;
  // Name servers of networks outlive a daemon that was killed, and would outlive the name of their namespace.
  const { stdout } = await run('ip', ['netns', 'pids', name]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) kill(Number(pid));
  await run('ip', ['netns', 'delete', name]);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** How leftovers.ts knows the process. */
export const PORTS_PROGRAM = 'unit-ports';

/** Runs inside. Arguments: a name by which it is found after a crash, directory of the sockets, ports that are brought in, ports that are handed out. */
const INNER = `
const net = require('node:net');
const [, directory, inward, outward] = process.argv.slice(1);
const pipe = (one, other) => {
  for (const socket of [one, other]) socket.on('error', () => undefined);
  one.on('close', () => other.destroy());
  other.on('close', () => one.destroy());
  one.pipe(other).pipe(one);
};
const ready = [];
const listen = (address, reach) => ready.push(new Promise((resolve, reject) =>
  net.createServer((socket) => pipe(socket, reach())).on('error', reject).listen(address, resolve)));
for (const port of inward.split(',')) listen({ host: '127.0.0.1', port }, () => net.connect(directory + '/in-' + port));
for (const port of outward.split(',')) listen(directory + '/out-' + port, () => net.connect({ host: '127.0.0.1', port }));
Promise.all(ready).then(() => console.log('ready'));
`;

export interface OwnNetworkOptions {
  readonly layout: Pick<UnitLayout, 'root' | 'run' | 'var'>;
  /** Ports of the host that are reached inside. */
  readonly inward: readonly number[];
  /** Ports of the inside that are reached from the host. */
  readonly outward: readonly number[];
}

export class OwnNetwork {
  readonly namespace: string;
  readonly #directory: string;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #children: ChildProcess[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
    this.namespace = namespaceOf(directory);
  }

  static async create({ layout, inward, outward }: OwnNetworkOptions): Promise<OwnNetwork> {
    await removeNamespace(layout.root);
    const network = new OwnNetwork(layout.root);
    const { namespace } = network;
    await run('ip', ['netns', 'add', namespace]);
    try {
      await run('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
      await run('ip', ['-n', namespace, 'address', 'add', `${UNIT_DNS}/32`, 'dev', 'lo']);
      await network.#join(join(layout.run, 'ports'), inward, outward);
      await network.#serveNames(join(layout.var, 'dns'));
      return network;
    } catch (error) {
      await network.remove();
      throw error;
    }
  }

  async remove(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((done) => server.close(done))));
    await removeNamespace(this.#directory);
  }

  async #join(directory: string, inward: readonly number[], outward: readonly number[]): Promise<void> {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    for (const port of inward) {
      await this.#listen(join(directory, `in-${port}`), () => connect({ host: '127.0.0.1', port }));
    }
    const inner = this.#spawn(
      process.execPath,
      '-e',
      INNER,
      PORTS_PROGRAM,
      directory,
      inward.join(','),
      outward.join(','),
    );
    await Promise.race([
      once(inner.stdout!, 'data'),
      once(inner, 'exit').then(() => Promise.reject(new Error('the ports of the unit cannot be joined'))),
    ]);
    for (const port of outward) {
      await this.#listen({ host: '127.0.0.1', port }, () => connect(join(directory, `out-${port}`)));
    }
  }

  /** What the platform does on a device: serves the names that the CM writes down. */
  async #serveNames(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    const hosts = join(directory, 'addnhosts');
    if (!existsSync(hosts)) await writeFile(hosts, '');
    const server = this.#spawn(
      'dnsmasq',
      ...[
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--no-hosts',
        '--no-resolv',
        '--local=/#/',
        '--bind-interfaces',
      ],
      // The directory of a test is for root alone.
      ...[
        `--listen-address=${UNIT_DNS}`,
        `--addn-hosts=${hosts}`,
        `--pid-file=${join(directory, 'pidfile')}`,
        '--user=root',
      ],
    );
    server.on('error', (error) => console.error(`dnsmasq cannot be run: ${error.message}`));
  }

  #spawn(...words: readonly string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=/run/netns/${this.namespace}`, ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
      // Not in the group of the terminal: a Ctrl-C stops the daemons first.
      detached: true,
    });
    this.#children.push(child);
    return child;
  }

  async #listen(
    address: string | { readonly host: string; readonly port: number },
    reach: () => Socket,
  ): Promise<void> {
    const server = createServer((socket) => {
      const other = reach();
      for (const [one, peer] of [
        [socket, other],
        [other, socket],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => {
          this.#sockets.delete(one);
          peer.destroy();
        });
      }
      socket.pipe(other).pipe(socket);
    });
    this.#servers.push(server);
    server.listen(address);
    await once(server, 'listening');
  }
}

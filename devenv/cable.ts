/**
 * The link between a proxy and its peer, in the hands of a test: it can be cut and joined again, and it reaches into a
 * network namespace that has no other way out, because its middle is a Unix socket.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Runs inside of the namespace: TCP on one side, the Unix socket on the other. Prints its port. */
const INNER = `
const net = require('node:net');
const server = net.createServer((socket) => {
  const outer = net.connect(process.argv[1]);
  for (const one of [socket, outer]) one.on('error', () => undefined);
  socket.on('close', () => outer.destroy());
  outer.on('close', () => socket.destroy());
  socket.pipe(outer).pipe(socket);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

export interface CableOptions {
  /** Path of the Unix socket in the middle. */
  readonly socketPath: string;
  /** Port of the proxy on this host. */
  readonly toPort: number;
  /** Network namespace of the peer; absent: that of this process. */
  readonly namespace?: string;
}

export class Cable {
  readonly port: number;
  readonly #options: CableOptions;
  readonly #outer: Server;
  readonly #inner: ChildProcess;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  #isSilent = false;

  private constructor(options: CableOptions, outer: Server, inner: ChildProcess, port: number) {
    this.#options = options;
    this.#outer = outer;
    this.#inner = inner;
    this.port = port;
    outer.on('connection', (socket) => this.#join(socket));
  }

  static async lay(options: CableOptions): Promise<Cable> {
    await rm(options.socketPath, { force: true });
    const outer = createServer();
    outer.listen(options.socketPath);
    await once(outer, 'listening');
    const command = [process.execPath, '-e', INNER, options.socketPath];
    const words = options.namespace ? ['nsenter', `--net=/run/netns/${options.namespace}`, ...command] : command;
    const inner = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(inner.stdout!, 'data')) as [Buffer];
    return new Cable(options, outer, inner, Number(line.toString().trim()));
  }

  /** Nothing goes through; connections break, and new ones are refused. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing goes through, and nobody is told: what a pulled plug looks like. */
  silence(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend(): void {
    this.#isCut = false;
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async remove(): Promise<void> {
    this.cut();
    const gone = once(this.#inner, 'exit');
    this.#inner.kill();
    await gone;
    await new Promise((resolve) => this.#outer.close(resolve));
    await rm(this.#options.socketPath, { force: true });
  }

  #join(peer: Socket): void {
    if (this.#isCut) {
      peer.destroy();
      return;
    }
    const proxy = connect({ host: '127.0.0.1', port: this.#options.toPort });
    for (const [one, other] of [
      [peer, proxy],
      [proxy, peer],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    peer.pipe(proxy).pipe(peer);
    if (this.#isSilent) for (const socket of [peer, proxy]) socket.pause();
  }
}

/**
 * A network for machines in a name space of its own: a bridge, a port for each machine, and the host's address on it,
 * so that a cloud that runs in the name space is reached. Nothing of the host's own network is touched.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Addresses that are in no documentation of anybody's site: the range for benchmarks (RFC 2544). */
const PREFIX = '198.18.0';
const BRIDGE = 'machines';
const NAMESPACES = '/run/netns';
/** Followed by the process that made it, so that what a killed run left is known as such. */
const NAME = 'aos-vm-';

export interface Link {
  /** Name of the device in the name space. */
  readonly device: string;
  readonly mac: string;
  /** With prefix length. */
  readonly address: string;
}

export class MachineNetwork {
  /** Name of the network name space. */
  readonly name: string;
  /** Where the host listens for machines. */
  readonly hostAddress = `${PREFIX}.1`;
  #links = 0;

  private constructor(name: string) {
    this.name = name;
  }

  static async create(): Promise<MachineNetwork> {
    const network = new MachineNetwork(`${NAME}${process.pid}-${randomBytes(2).toString('hex')}`);
    await run('ip', ['netns', 'add', network.name]);
    try {
      await network.#ip('link', 'set', 'lo', 'up');
      await network.#ip('link', 'add', BRIDGE, 'type', 'bridge');
      await network.#ip('address', 'add', `${network.hostAddress}/24`, 'dev', BRIDGE);
      await network.#ip('link', 'set', BRIDGE, 'up');
    } catch (error) {
      await network.remove();
      throw error;
    }
    return network;
  }

  /** A port for one more machine. */
  async addLink(): Promise<Link> {
    this.#links += 1;
    const device = `port${this.#links}`;
    await this.#ip('tuntap', 'add', device, 'mode', 'tap');
    await this.#ip('link', 'set', device, 'master', BRIDGE, 'up');
    const suffix = this.#links.toString(16).padStart(2, '0');
    return { device, mac: `52:54:00:a0:05:${suffix}`, address: `${PREFIX}.${10 + this.#links}/24` };
  }

  /** Pulls the cable of a machine, or plugs it in again. */
  async setLink(link: Link, state: 'up' | 'down'): Promise<void> {
    await this.#ip('link', 'set', link.device, state);
  }

  /** How a program is started inside: words to put in front of it. */
  get enter(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  async remove(): Promise<void> {
    await run('ip', ['netns', 'delete', this.name]);
  }

  async #ip(...words: readonly string[]): Promise<void> {
    await run('ip', ['-netns', this.name, ...words]);
  }
}

/** Removes the networks of runs that were killed, with what still runs in them; before the first story. Others may do so, too. */
export async function removeOrphans(): Promise<void> {
  const { stdout } = await run('ip', ['netns', 'list']);
  for (const line of stdout.split('\n')) {
    const name = line.split(' ')[0]!;
    const [, owner] = /^aos-vm-(\d+)-/.exec(name) ?? [];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    try {
      const { stdout: pids } = await run('ip', ['netns', 'pids', name]);
      for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
      await run('ip', ['netns', 'delete', name]);
    } catch (error) {
      // Whoever was faster left nothing to remove.
      if (existsSync(join(NAMESPACES, name))) throw error;
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** dnsmasq, one per network (spec/sm.md 7.6). It outlives whoever started it, and is found again by its directory. */
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AosError, asAosError, faultPoint, throwIfCanceled } from '../../core/index.ts';
import { identifyProcess, isRunning, type ProcessIdentity, signalProcess } from '../proc/index.ts';
import { helperEnvironment, quote } from '../program/index.ts';

const START_MS = 10_000;
const STOP_MS = 5_000;
const LOOK_AGAIN_MS = 20;
const MAX_WORDS = 4096;
/** Search permission for everybody. */
const OTHERS_SEARCH = 0o001;

/** What one name server answers, and where. */
export interface NameServer {
  /** Directory of its own; the records and the pid file lie in it. */
  readonly directory: string;
  readonly interface: string;
  readonly address: string;
}

export interface NameRecords {
  /** As in `/etc/hosts`, one line per address. */
  readonly hosts: readonly string[];
  /** Names, and all below them, for which nobody else is asked: else an address of IPv6 would be asked of others. */
  readonly own: readonly string[];
  /** Addresses of servers that are asked for other names. */
  readonly upstreams: readonly string[];
}

export interface NameServers {
  /** True when exactly this server runs. */
  isRunning(server: NameServer): boolean;
  /** Starts it unless it runs; it listens when this resolves. Throws `notFound` when dnsmasq is not installed. */
  start(server: NameServer, records: NameRecords, signal: AbortSignal): Promise<void>;
  /** Gives a running server other records; it reads them without a pause. Says the same again: nothing happens. */
  update(server: NameServer, records: NameRecords): Promise<void>;
  /** Ends it and removes its directory; one that does not run is no error. */
  stop(directory: string, signal: AbortSignal): Promise<void>;
  /** Names of directories below `root`. */
  list(root: string): Promise<string[]>;
}

export interface HostNameServersOptions {
  readonly program?: string;
  /** Moves the process out of our cgroup, before it is dnsmasq. */
  readonly settle?: (pid: number) => void;
}

const fileIn = (directory: string) => ({
  hosts: join(directory, 'addnhosts'),
  upstreams: join(directory, 'servers'),
  pid: join(directory, 'pidfile'),
});

export class HostNameServers implements NameServers {
  readonly #options: HostNameServersOptions;
  /** What was written last, by directory. */
  readonly #written = new Map<string, string>();

  constructor(options: HostNameServersOptions = {}) {
    this.#options = options;
  }

  isRunning(server: NameServer): boolean {
    const found = findServer(server.directory);
    return (
      found?.words.includes(`--listen-address=${server.address}`) === true && found.words.includes(interfaceOf(server))
    );
  }

  async start(server: NameServer, records: NameRecords, signal: AbortSignal): Promise<void> {
    if (this.isRunning(server)) return this.update(server, records);
    await this.stop(server.directory, signal);
    await mkdir(server.directory, { recursive: true });
    await this.#write(server.directory, records);
    faultPoint('dnsmasq.start');
    await this.#launch(argumentsOf(server), signal);
  }

  async update(server: NameServer, records: NameRecords): Promise<void> {
    const { directory } = server;
    if (this.#written.get(directory) === textOf(records)) return;
    await this.#write(directory, records);
    const found = findServer(directory);
    // One that ended meanwhile is started anew by whoever looks after it.
    if (found) signalProcess(found.identity, 'SIGHUP');
  }

  async stop(directory: string, signal: AbortSignal): Promise<void> {
    const found = findServer(directory);
    if (found) {
      faultPoint('dnsmasq.stop');
      signalProcess(found.identity, 'SIGTERM');
      const deadline = performance.now() + STOP_MS;
      while (isRunning(found.identity)) {
        throwIfCanceled(signal);
        if (performance.now() > deadline) signalProcess(found.identity, 'SIGKILL');
        await sleep(LOOK_AGAIN_MS);
      }
    }
    this.#written.delete(directory);
    await rm(directory, { recursive: true, force: true });
  }

  async list(root: string): Promise<string[]> {
    try {
      return await readdir(root);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw asAosError(error, 'cannot list the name servers');
    }
  }

  async #write(directory: string, records: NameRecords): Promise<void> {
    const files = fileIn(directory);
    const lines = (all: readonly string[]) => all.map((line) => `${line}\n`).join('');
    const servers = [...records.own.map((name) => `/${name}/`), ...records.upstreams];
    await replaceFile(files.upstreams, lines(servers.map((server) => `server=${server}`)));
    await replaceFile(files.hosts, lines(records.hosts));
    this.#written.set(directory, textOf(records));
  }

  /** dnsmasq goes into the background when it listens, or ends with its complaint. */
  #launch(args: readonly string[], signal: AbortSignal): Promise<void> {
    throwIfCanceled(signal);
    const { program = 'dnsmasq', settle } = this.#options;
    // The shell waits until it has been moved; only then does it become dnsmasq.
    const child = spawn('sh', ['-c', 'read -r go; exec "$@"', 'sh', program, ...args], {
      stdio: ['pipe', 'ignore', 'pipe'],
      env: helperEnvironment({ LC_ALL: 'C' }),
    });
    return new Promise((resolve, reject) => {
      let words = '';
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        words = (words + chunk).slice(0, MAX_WORDS);
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), START_MS);
      child.on('error', (error) => reject(asAosError(error, 'cannot run a shell')));
      child.on('exit', (code) => {
        clearTimeout(timer);
        child.stderr.destroy();
        if (code === 0) resolve();
        else if (code === 127) reject(new AosError('notFound', `${program} is not installed`));
        else reject(new AosError('runtime', `${program} does not start: ${quote(words)}`, { exitCode: code ?? -1 }));
      });
      child.stdin.on('error', () => undefined);
      if (child.pid !== undefined) settle?.(child.pid);
      child.stdin.end('go\n');
    });
  }
}

/** Whole for whoever reads it; it is written anew after a power loss, so nothing waits for the disk. */
async function replaceFile(path: string, content: string): Promise<void> {
  faultPoint('dnsmasq.write');
  await writeFile(`${path}.new`, content, { mode: 0o644 });
  await rename(`${path}.new`, path);
}

function textOf(records: NameRecords): string {
  return JSON.stringify(records);
}

function interfaceOf(server: NameServer): string {
  return `--interface=${server.interface}`;
}

function argumentsOf(server: NameServer): string[] {
  const files = fileIn(server.directory);
  return [
    // Nothing of the host's own configuration.
    '--conf-file=/dev/null',
    '--no-hosts',
    '--no-resolv',
    '--bind-interfaces',
    '--except-interface=lo',
    interfaceOf(server),
    `--listen-address=${server.address}`,
    `--addn-hosts=${files.hosts}`,
    `--servers-file=${files.upstreams}`,
    `--pid-file=${files.pid}`,
    // Without root it could not read records again that lie where only root may look.
    ...(isReachable(server.directory) ? [] : ['--user=root']),
  ];
}

/** Whether a process without rights can come to the directory. */
function isReachable(directory: string): boolean {
  for (let path = directory; ; path = dirname(path)) {
    if ((statSync(path).mode & OTHERS_SEARCH) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

/** The process that a pid file names, if it is the server of this directory. */
function findServer(directory: string): { identity: ProcessIdentity; words: readonly string[] } | undefined {
  const file = fileIn(directory).pid;
  try {
    const identity = identifyProcess(Number(readFileSync(file, 'utf8').trim()));
    if (!identity) return undefined;
    const words = readFileSync(`/proc/${identity.pid}/cmdline`, 'utf8').split('\0');
    return words.includes(`--pid-file=${file}`) ? { identity, words } : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw asAosError(error, `cannot look for the name server of ${directory}`);
  }
}

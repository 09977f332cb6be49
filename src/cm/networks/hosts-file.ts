/** Names of instances for the unit's name server (spec/cm.md 6.5, spec/decisions.md C-86). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError, faultPoint, type Logger } from '../../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, writeFileAtomic } from '../../storage/index.ts';
import type { NetworkInstance } from './model.ts';

export interface HostsFileOptions {
  /** `dnsStoragePath`. */
  readonly directory: string;
  /** `dnsPidFile`. */
  readonly pidFile: string;
  readonly logger: Logger;
}

const FILE = 'addnhosts';

/** A publisher chooses some of them: anything else could be several names, or a line for another address. */
const HOST_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;

export function isHostName(text: string): boolean {
  return HOST_NAME.test(text);
}

/** One line per address that has names; what is no name of a host is left out. Pure. */
export function formatHosts(instances: Iterable<NetworkInstance>): string {
  return [...instances]
    .map(({ ip, hosts }) => [ip, ...hosts.filter(isHostName)])
    .filter(({ length }) => length > 1)
    .map((words) => `${words.join('\t')}\n`)
    .join('');
}

/** Writes the file when its content changed, and tells the name server; several changes at a time become one. */
export class HostsFile {
  readonly #options: HostsFileOptions;
  #written: string | undefined;
  #wanted = '';
  #writing: Promise<void> | undefined;

  constructor(options: HostsFileOptions) {
    this.#options = options;
  }

  /** Resolves when the file says this, or something newer. Throws when it cannot be written. */
  async update(instances: Iterable<NetworkInstance>): Promise<void> {
    this.#wanted = formatHosts(instances);
    while (this.#written !== this.#wanted) {
      this.#writing ??= this.#write(this.#wanted).finally(() => {
        this.#writing = undefined;
      });
      await this.#writing;
    }
  }

  async #write(content: string): Promise<void> {
    const { directory, logger } = this.#options;
    try {
      if (this.#written === undefined) {
        await ensureDirectory(directory);
        await removeTemporaryFiles(directory, FILE);
      }
      await writeFileAtomic(join(directory, FILE), content, { faultName: 'network.hosts' });
    } catch (error) {
      throw new AosError('runtime', 'failed to write to hosts file', { cause: error });
    }
    this.#written = content;
    try {
      await this.#signal();
    } catch (error) {
      logger.warn({ error: asAosError(error).message }, 'the name server was not told of new names');
    }
  }

  async #signal(): Promise<void> {
    const { pidFile } = this.#options;
    let text: string;
    try {
      text = await readFile(pidFile, 'utf8');
    } catch (error) {
      throw new AosError('runtime', 'failed to open PID file', { cause: error });
    }
    const [line = ''] = text.split('\n');
    if (line.trim() === '') throw new AosError('runtime', 'process not exist - PID file is empty');
    const pid = Number(line);
    if (!Number.isInteger(pid) || pid <= 1) throw new AosError('runtime', `invalid PID format: ${line}`);
    faultPoint('network.signal-dns');
    try {
      process.kill(pid, 'SIGHUP');
    } catch (error) {
      throw new AosError('runtime', `failed to send SIGHUP signal: ${(error as Error).message}`, { cause: error });
    }
  }
}

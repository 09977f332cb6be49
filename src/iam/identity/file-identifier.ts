/** Identity from three files (spec/iam.md 8.1). Subjects are followed; id and model hold until the next start. */
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { asAosError, type Logger } from '../../core/index.ts';
import type { FileIdentifierParams } from '../config/iam-config.ts';
import type { Identifier, SystemInfo } from './identifier.ts';
import { parseSubjects, parseSystemId, parseUnitModel } from './identity-text.ts';

/** Editors write a file in several steps; it is read when it has rested so long. */
const SETTLE_MS = 100;

export class FileIdentifier implements Identifier {
  readonly #params: FileIdentifierParams;
  readonly #logger: Logger;
  readonly #listeners = new Set<(subjects: readonly string[]) => void>();
  readonly #watchers: FSWatcher[] = [];
  #system: SystemInfo | undefined;
  #subjects: readonly string[] = [];
  #settling: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(params: FileIdentifierParams, logger: Logger) {
    this.#params = params;
    this.#logger = logger;
  }

  /** Throws when system id or unit model cannot be read; subjects that cannot be read are none. */
  async start(): Promise<void> {
    this.#system = await this.#readSystem();
    this.#subjects = await this.#readSubjects();
    this.#watch();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
    await this.#reading;
  }

  async systemInfo(): Promise<SystemInfo> {
    return this.#system ?? (await this.#readSystem());
  }

  async subjects(): Promise<readonly string[]> {
    return this.#subjects;
  }

  onSubjectsChange(listener: (subjects: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #readSystem(): Promise<SystemInfo> {
    const { systemIDPath, unitModelPath } = this.#params;
    const systemId = parseSystemId(await readText(systemIDPath), systemIDPath);
    return { systemId, ...parseUnitModel(await readText(unitModelPath), unitModelPath) };
  }

  async #readSubjects(): Promise<readonly string[]> {
    const path = this.#params.subjectsPath;
    try {
      return parseSubjects(await readText(path), path);
    } catch (error) {
      this.#logger.warn({ path, error: asAosError(error).message }, 'the subjects are unknown; there are none');
      return [];
    }
  }

  /** Directories are watched: a file that is replaced is another one. */
  #watch(): void {
    const { systemIDPath, unitModelPath, subjectsPath } = this.#params;
    const paths = [systemIDPath, unitModelPath, subjectsPath];
    for (const directory of new Set(paths.map(dirname))) {
      const watched = new Set(paths.filter((path) => dirname(path) === directory).map((path) => basename(path)));
      try {
        const watcher = watch(directory, { persistent: false }, (_, name) => {
          if (name === null || watched.has(name)) this.#settle();
        });
        watcher.on('error', (error) => this.#cannotWatch(directory, error));
        this.#watchers.push(watcher);
      } catch (error) {
        this.#cannotWatch(directory, error);
      }
    }
  }

  #cannotWatch(directory: string, error: unknown): void {
    this.#logger.warn({ directory, error: String(error) }, 'changes of the identity are seen at the next start only');
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#reading = this.#reading.then(() => this.#refresh());
    }, SETTLE_MS);
  }

  async #refresh(): Promise<void> {
    const subjects = await this.#readSubjects();
    if (!isDeepStrictEqual(subjects, this.#subjects)) {
      this.#subjects = subjects;
      this.#logger.info({ count: subjects.length }, 'the subjects changed');
      for (const listener of this.#listeners) listener(subjects);
    }
    try {
      if (!isDeepStrictEqual(await this.#readSystem(), this.#system)) {
        this.#logger.warn({}, 'system id or unit model changed on disk; they hold from the next start');
      }
    } catch (error) {
      this.#logger.warn({ error: asAosError(error).message }, 'system id or unit model cannot be read any more');
    }
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, `cannot read ${path}`);
  }
}

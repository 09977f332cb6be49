/** A certificate handler over a token in memory or over files, with a clock that a test moves, and an authority. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, silentLogger } from '../../core/index.ts';
import { FakePkcs11 } from '../../platform/token/index.ts';
import { type CertModuleConfig, IamConfig } from '../config/iam-config.ts';
import { IamStore } from '../store/iam-store.ts';
import { CertificateHandler } from './certificate-handler.ts';
import type { CertificateModule } from './certificate-module.ts';
import { FileModule } from './file-module.ts';
import { KeyDirectory } from './key-directory.ts';
import { KeyModule } from './key-module.ts';
import { OwnedToken } from './owned-token.ts';

export class HandlerWorld {
  readonly directory: string;
  readonly library = new FakePkcs11();
  nowMs = Date.UTC(2026, 0, 1);
  readonly clock: Clock = {
    monotonicMs: () => this.nowMs,
    now: () => new Date(this.nowMs),
    sleep: () => Promise.reject(new Error('nothing here sleeps')),
  };
  complaint: string | undefined;
  readonly #modules: readonly CertModuleConfig[];
  #store: IamStore | undefined;
  #handler: CertificateHandler | undefined;

  private constructor(directory: string, modules: readonly CertModuleConfig[]) {
    this.directory = directory;
    this.#modules = modules;
  }

  static async create(
    modules: readonly Record<string, unknown>[],
    plugin: CertModuleConfig['plugin'] = 'pkcs11module',
  ): Promise<HandlerWorld> {
    const directory = await mkdtemp(join(tmpdir(), 'iam-certificates-'));
    const config = IamConfig.parse({
      iamPublicServerURL: ':0',
      iamProtectedServerURL: ':0',
      workingDir: directory,
      nodeInfo: {},
      certModules: modules.map((module) => ({
        plugin,
        algorithm: 'ecc',
        maxItems: 2,
        ...module,
        params:
          plugin === 'swmodule'
            ? { directory: join(directory, 'keys') }
            : { library: '/fake', tokenLabel: 'aoscore', userPinPath: join(directory, '.usrpin') },
      })),
    });
    return new HandlerWorld(directory, config.certModules);
  }

  get store(): IamStore {
    return this.#store!;
  }

  get handler(): CertificateHandler {
    return this.#handler!;
  }

  /** Starts a handler, as a new process would. */
  async start(strictChain = false): Promise<CertificateHandler> {
    await this.stop();
    this.#store = await IamStore.open(join(this.directory, 'aos-iam.db'), silentLogger);
    this.#handler = new CertificateHandler({
      modules: this.#openModules(),
      store: this.#store,
      clock: this.clock,
      logger: silentLogger,
      judgeChain: () => this.complaint,
      strictChain,
    });
    await this.#handler.start();
    return this.#handler;
  }

  async stop(): Promise<void> {
    await this.#handler?.stop();
    this.#store?.stop();
    this.#handler = undefined;
    this.#store = undefined;
  }

  /** The types of a configuration share their token, or their directory. */
  #openModules(): CertificateModule[] {
    const places: { token?: OwnedToken; directory?: KeyDirectory } = {};
    return this.#modules.map((module) => {
      if (module.plugin === 'swmodule') {
        places.directory ??= new KeyDirectory(module.params.directory);
        return new FileModule(module, places.directory, silentLogger);
      }
      places.token ??= new OwnedToken({ library: this.library, params: module.params, logger: silentLogger });
      return new KeyModule(module, places.token, silentLogger);
    });
  }

  get keys(): string {
    return join(this.directory, 'keys');
  }

  /** How many objects of a kind the token or the directory has, whatever their label. */
  async count(kind: 'privateKey' | 'publicKey' | 'certificate', label?: string): Promise<number> {
    if (this.#modules[0]!.plugin === 'swmodule') {
      const ending = kind === 'certificate' ? '.crt' : '.key';
      return (await readdir(this.keys)).filter((name) => name.endsWith(ending) && name.startsWith(label ?? '')).length;
    }
    const session = this.library.open(
      this.library.find({ label: 'aoscore' }).slotId,
      await readFile(join(this.directory, '.usrpin'), 'utf8'),
    );
    return session.list(label === undefined ? { kind } : { kind, label }).length;
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A certificate handler over a token in memory, with a clock that a test moves, and an authority. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, silentLogger } from '../../core/index.ts';
import { FakePkcs11 } from '../../platform/token/index.ts';
import { type CertModuleConfig, IamConfig } from '../config/iam-config.ts';
import { IamStore } from '../store/iam-store.ts';
import { CertificateHandler } from './certificate-handler.ts';
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

  static async create(modules: readonly Record<string, unknown>[]): Promise<HandlerWorld> {
    const directory = await mkdtemp(join(tmpdir(), 'iam-certificates-'));
    const config = IamConfig.parse({
      iamPublicServerURL: ':0',
      iamProtectedServerURL: ':0',
      workingDir: directory,
      nodeInfo: {},
      certModules: modules.map((module) => ({
        plugin: 'pkcs11module',
        algorithm: 'ecc',
        maxItems: 2,
        ...module,
        params: { library: '/fake', tokenLabel: 'aoscore', userPinPath: join(directory, '.usrpin') },
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
    const token = new OwnedToken({ library: this.library, params: this.#modules[0]!.params, logger: silentLogger });
    this.#handler = new CertificateHandler({
      modules: this.#modules.map((module) => new KeyModule(module, token, silentLogger)),
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

  /** How many objects of a kind the token has, whatever their label. */
  async count(kind: 'privateKey' | 'publicKey' | 'certificate', label?: string): Promise<number> {
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

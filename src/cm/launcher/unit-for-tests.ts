/** A small unit for tests: controller, nodes, configuration and launcher over one database; nodes are scripted. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AosError, silentLogger } from '../../core/index.ts';
import { type ItemConfigDocument, parseImageConfig, parseItemConfig } from '../../oci/index.ts';
import type { UnitMessage } from '../../protocol/index.ts';
import type { InstanceStatus, RunRequest } from '../model.ts';
import { type IamNodeInfo, NodeDirectory, SmController } from '../nodes/index.ts';
import { ScriptedSm, type ScriptedSmOptions } from '../nodes/scripted-sm-for-tests.ts';
import { STATE_TABLES, StateStore, StorageState } from '../storage-state/index.ts';
import { UnitConfig } from '../unit-config/index.ts';
import type { Decision } from './decisions.ts';
import { InstanceStore, LAUNCHER_TABLES } from './instance-store.ts';
import type { ItemDocuments } from './item-facts.ts';
import { Launcher } from './launcher.ts';
import type { LauncherOptions } from './launcher-options.ts';

export interface TestItem {
  readonly itemId: string;
  readonly version: string;
  readonly config?: ItemConfigDocument;
  readonly architecture?: string;
}

export function iamNode(nodeId: string, more: Partial<IamNodeInfo> = {}): IamNodeInfo {
  return {
    nodeId,
    nodeType: 'generic',
    title: nodeId,
    maxDmips: 10_000,
    totalRam: 1 << 30,
    physicalRam: 1 << 30,
    os: { os: 'linux', version: '', features: [] },
    cpus: [],
    partitions: [],
    attrs: { AosComponents: 'iam,sm' },
    state: 'provisioned',
    isConnected: true,
    ...more,
  };
}

export function request(itemId: string, version: string, numInstances = 1, more: Partial<RunRequest> = {}): RunRequest {
  return {
    itemId,
    type: 'service',
    version,
    ownerId: 'owner',
    subject: { id: 'subject', type: 'group', isUnitSubject: false },
    priority: 0,
    numInstances,
    labels: [],
    ...more,
  };
}

/** Waits until something is true; the test's own time-out ends a wait for what never comes. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export type TestUnitOptions = Partial<
  Pick<
    LauncherOptions,
    | 'nodesConnectionTimeoutMs'
    | 'smConnectionTimeoutMs'
    | 'nodeAnswerTimeoutMs'
    | 'instanceTtlMs'
    | 'checkOverridesMs'
    | 'storage'
    | 'reportStateChecksum'
    | 'isInCharge'
  >
> & {
  readonly nodes?: readonly IamNodeInfo[];
  /** Default: in memory. */
  readonly databaseFile?: string;
};

/** Everything that a restart of the CM loses is in `boot` and gone with `shutDown`. */
export class TestUnit {
  readonly directory: string;
  readonly database: DatabaseSync;
  readonly items = new Map<string, ItemDocuments>();
  readonly changes: InstanceStatus[] = [];
  readonly signal = new AbortController().signal;
  #options: TestUnitOptions;
  readonly #sms: ScriptedSm[] = [];
  nodes!: NodeDirectory;
  controller!: SmController;
  config!: UnitConfig;
  storage!: StorageState;
  launcher!: Launcher;
  readonly sent: UnitMessage[] = [];
  readonly decisions: string[] = [];
  readonly refused: Decision['refused'][] = [];

  private constructor(directory: string, options: TestUnitOptions) {
    this.directory = directory;
    this.#options = options;
    this.database = new DatabaseSync(options.databaseFile ?? ':memory:');
    if (options.databaseFile) this.database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    this.database.exec(LAUNCHER_TABLES);
    this.database.exec(STATE_TABLES);
  }

  static async create(options: TestUnitOptions = {}): Promise<TestUnit> {
    const unit = new TestUnit(await mkdtemp(join(tmpdir(), 'aos-launcher-')), options);
    await unit.boot();
    return unit;
  }

  async boot(options: TestUnitOptions = {}): Promise<void> {
    this.#options = { ...this.#options, ...options };
    const logger = silentLogger;
    const { nodes = [iamNode('main')], storage, databaseFile: _, ...limits } = this.#options;
    const smConnectionTimeoutMs = limits.smConnectionTimeoutMs ?? 60_000;
    this.nodes = new NodeDirectory({ logger, smConnectionTimeoutMs });
    for (const node of nodes) this.nodes.updateFromIam(node);
    this.controller = new SmController({
      listen: '127.0.0.1:0',
      nodes: this.nodes,
      blobUrls: async (digests) => digests.map((digest) => `http://blobs/${digest}`),
      logger,
    });
    this.config = new UnitConfig({
      file: join(this.directory, 'aos_unit.cfg'),
      nodes: this.nodes,
      links: this.controller,
      logger,
    });
    this.storage = new StorageState({
      store: new StateStore(this.database),
      send: (message) => this.sent.push(message),
      debounceMs: 20,
      logger,
      storageDir: join(this.directory, 'storages'),
      stateDir: join(this.directory, 'states'),
    });
    this.storage.onChecksum((ident, checksum) => this.launcher.setStateChecksum(ident, checksum));
    this.launcher = new Launcher({
      store: new InstanceStore(this.database),
      nodes: this.nodes,
      streams: this.controller,
      items: { readItem: (itemId, version) => this.readItem(itemId, version) },
      config: this.config,
      storage: storage ?? this.storage,
      systemIds: async () => ({ uids: new Set(), gids: new Set() }),
      events: {
        record: ({ about, what, because, refused }) => {
          this.decisions.push(`${about.id} ${what}: ${because}`);
          if (refused) this.refused.push(refused);
        },
      },
      logger,
      ...limits,
    });
    this.launcher.subscribe((changed) => this.changes.push(...changed));
    await this.storage.start();
    await this.config.start();
    await this.launcher.start();
    await this.controller.start();
  }

  /** Connects a scripted SM. */
  connect(nodeId: string, more: Partial<ScriptedSmOptions> = {}): ScriptedSm {
    const sm = new ScriptedSm({ address: `127.0.0.1:${this.controller.address!.port}`, nodeId, ...more });
    this.#sms.push(sm);
    return sm;
  }

  addItem({ itemId, version, config = {}, architecture = 'amd64' }: TestItem): void {
    this.items.set(`${itemId} ${version}`, {
      manifests: [
        {
          digest: `sha256:${itemId}-${version}`,
          imageConfig: parseImageConfig(JSON.stringify({ architecture, os: 'linux' })),
          itemConfig: parseItemConfig(JSON.stringify(config)),
        },
      ],
    });
  }

  launch(...requests: RunRequest[]): Promise<void> {
    return this.launcher.launch(requests, this.signal);
  }

  /** `item/subject/instance version node state [message]` of all instances. */
  summary(): string[] {
    return this.launcher
      .statuses()
      .map(({ ident, version, nodeId, state, error }) =>
        [
          `${ident.itemId}/${ident.instance}`,
          version,
          nodeId || '-',
          state,
          ...(error ? [error.message || `code ${error.aosCode}`] : []),
        ].join(' '),
      );
  }

  /** The CM ends, as far as it can be told from outside. */
  async shutDown(): Promise<void> {
    await this.launcher.stop();
    await this.config.stop();
    await this.storage.stop();
    this.nodes.stop();
    await this.controller.stop();
  }

  async close(): Promise<void> {
    for (const sm of this.#sms) await sm.stop();
    await this.shutDown();
    this.database.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Where items come from; by default those that were added. */
  readItem = async (itemId: string, version: string): Promise<ItemDocuments> => {
    const item = this.items.get(`${itemId} ${version}`);
    if (!item) throw new AosError('notFound', 'item not found');
    return item;
  };
}

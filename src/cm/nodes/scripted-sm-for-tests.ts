/** A service manager that follows a script, over real gRPC; for tests. */
import { create } from '@bufbuild/protobuf';
import { common, sm } from '../../api/contracts.ts';
import { Channel, type ClientTls } from '../../api/index.ts';
import { Mailbox } from '../../core/index.ts';

type Outgoing = sm.SMOutgoingMessages['SMOutgoingMessage'];

export interface ScriptedSmOptions {
  readonly address: string;
  readonly nodeId: string;
  readonly tls?: ClientTls;
  readonly runtimeTypes?: readonly string[];
  readonly resources?: readonly { readonly name: string; readonly sharedCount: number }[];
  /** What instances become when they are started. Default: active. */
  readonly outcome?: (info: sm.InstanceInfo) => {
    state: string;
    message?: string;
    /** All words of the failure, as ours tell them. */
    reason?: string;
    aosCode?: number;
    exitCode?: number;
  };
  /** Of its runtimes. Default: amd64. */
  readonly architecture?: string;
  /** Of each runtime. Default: no limit of its own. */
  readonly maxInstances?: number;
  /** Instances that run already. */
  readonly running?: Map<string, sm.InstanceInfo>;
  /** Whether `UpdateInstances` is answered at once. Default true. */
  readonly answers?: boolean;
  readonly preinstalled?: readonly { readonly itemId: string; readonly version: string }[];
}

export class ScriptedSm {
  readonly #options: ScriptedSmOptions;
  readonly #channel: Channel;
  readonly #outbox = new Mailbox<sm.SMOutgoingMessages>(1000);
  readonly #abort = new AbortController();
  /** Everything the CM has sent. */
  readonly received: sm.SMIncomingMessages['SMIncomingMessage'][] = [];
  /** By `item/subject/instance`. */
  readonly running: Map<string, sm.InstanceInfo>;
  /** How often an instance was started because it was new or looked different. */
  starts = 0;
  config = { state: 'absent', version: '', json: '' };
  refusesConfig = false;
  /** DMIPS and bytes of the node, all used by its instances, answered when averages are asked for. */
  average = { cpu: 0, ram: 0 };
  readonly ended: Promise<void>;

  constructor(options: ScriptedSmOptions) {
    this.#options = options;
    this.running = options.running ?? new Map();
    this.#channel = new Channel({ address: options.address, ...(options.tls ? { tls: options.tls } : {}) });
    this.say({ case: 'smInfo', value: create(sm.SMInfoSchema, this.#info()) });
    this.reportAll();
    this.ended = this.#run();
  }

  get updates(): sm.UpdateInstances[] {
    return this.received.flatMap((message) => (message.case === 'updateInstances' ? [message.value] : []));
  }

  say(message: Outgoing): void {
    this.#outbox.push(create(sm.SMOutgoingMessagesSchema, { SMOutgoingMessage: message }));
  }

  /** Sends the full list. */
  reportAll(): void {
    const preinstalled = (this.#options.preinstalled ?? []).map(({ itemId, version }) =>
      create(sm.InstanceStatusSchema, {
        instance: { itemId, subjectId: 'pre', type: common.ItemType.COMPONENT, preinstalled: true },
        version,
        runtimeId: `runc@${this.#options.nodeId}`,
        state: 'active',
      }),
    );
    const instances = [...this.running.values()].map((info) => this.#status(info));
    this.say({
      case: 'nodeInstancesStatus',
      value: create(sm.NodeInstancesStatusSchema, { instances: [...instances, ...preinstalled] }),
    });
  }

  /** Says that one instance has this state now. */
  reportOne(name: string, state: string): void {
    const instances = [{ ...this.#status(this.running.get(name)!), state }];
    this.say({ case: 'updateInstancesStatus', value: create(sm.UpdateInstancesStatusSchema, { instances }) });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#outbox.close();
    this.#channel.close();
    await this.ended;
  }

  #info() {
    const { nodeId, runtimeTypes = ['runc'], architecture = 'amd64', maxInstances = 0 } = this.#options;
    return {
      nodeId,
      resources: (this.#options.resources ?? []).map(({ name, sharedCount }) => ({
        name,
        sharedCount: BigInt(sharedCount),
      })),
      runtimes: runtimeTypes.map((type) => ({
        runtimeId: `${type}@${nodeId}`,
        type,
        osInfo: { os: 'linux' },
        archInfo: { architecture },
        maxInstances: BigInt(maxInstances),
      })),
    };
  }

  #status(info: sm.InstanceInfo): sm.InstanceStatus {
    const { state, message, reason, aosCode = 1, exitCode = 0 } = this.#options.outcome?.(info) ?? { state: 'active' };
    return create(sm.InstanceStatusSchema, {
      ...(info.instance ? { instance: info.instance } : {}),
      version: info.version,
      runtimeId: info.runtimeId,
      manifestDigest: info.manifestDigest,
      envVars: info.envVars.map(({ name }) => ({ name })),
      state,
      error: message ? { aosCode, exitCode, message } : {},
      ...(reason && { reason }),
    });
  }

  async #run(): Promise<void> {
    const client = this.#channel.client(sm.SMService);
    try {
      for await (const { SMIncomingMessage: message } of client.registerSM(this.#outbox, {
        signal: this.#abort.signal,
      })) {
        this.received.push(message);
        this.#react(message);
      }
    } catch {
      // The test ends the stream, or the controller does.
    } finally {
      this.#outbox.close();
    }
  }

  #react(message: sm.SMIncomingMessages['SMIncomingMessage']): void {
    switch (message.case) {
      case 'updateInstances':
        this.#update(message.value);
        if (this.#options.answers !== false) this.reportAll();
        return;
      case 'getAverageMonitoring': {
        const { cpu, ram } = this.average;
        this.say({
          case: 'averageMonitoring',
          value: create(sm.AverageMonitoringSchema, {
            nodeMonitoring: { cpu: BigInt(cpu), ram: BigInt(ram) },
            instancesMonitoring: [...this.running.values()].map(({ instance, runtimeId }) => ({
              ...(instance ? { instance } : {}),
              runtimeId,
              monitoringData: {
                cpu: BigInt(cpu) / BigInt(this.running.size),
                ram: BigInt(ram) / BigInt(this.running.size),
              },
            })),
          }),
        });
        return;
      }
      case 'checkNodeConfig':
      case 'setNodeConfig': {
        const error = this.refusesConfig ? { aosCode: 6, message: 'not for me' } : {};
        if (message.case === 'setNodeConfig' && !this.refusesConfig) {
          this.config = { state: 'installed', version: message.value.version, json: message.value.nodeConfig };
        }
        this.#sayConfig(error);
        return;
      }
      case 'getNodeConfigStatus':
        this.#sayConfig({});
        return;
      default:
    }
  }

  #sayConfig(error: { aosCode?: number; message?: string }): void {
    const { state, version } = this.config;
    this.say({ case: 'nodeConfigStatus', value: create(sm.NodeConfigStatusSchema, { state, version, error }) });
  }

  #update({ startInstances, stopInstances }: sm.UpdateInstances): void {
    for (const ident of stopInstances) this.running.delete(nameOf(ident));
    for (const info of startInstances) {
      const name = nameOf(info.instance!);
      const before = this.running.get(name);
      if (!before || bytesOf(before) !== bytesOf(info)) this.starts += 1;
      this.running.set(name, info);
    }
  }
}

function nameOf({ itemId, subjectId, instance }: { itemId: string; subjectId: string; instance: bigint }): string {
  return `${itemId}/${subjectId}/${instance}`;
}

function bytesOf(info: sm.InstanceInfo): string {
  return JSON.stringify(info, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}

/** What the SM asks of IAM: the description of this node, and permissions of instances (spec/sm.md 1.8). */
import { iam } from '../../api/contracts.ts';
import { asCallError, Channel, identMessage, UNARY_DEADLINE_MS } from '../../api/index.ts';
import { AosError, type Clock, type InstanceIdent, type Logger } from '../../core/index.ts';
import type { CredentialSource } from '../../daemon/index.ts';
import type { NodeInfo } from '../model.ts';

const RETRY_MS = 1_000;

export interface IamAddress {
  /** `host:port`. */
  readonly address: string;
  /** PEM of the roots. */
  readonly ca: string;
  readonly checkHostName: boolean;
}

interface NodeInfoContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Asks IAM's public server, over the channel to it, until it answers (spec/decisions.md CM-05 for the SM). */
export async function waitForNodeInfo(
  { channel, address }: { readonly channel: Channel; readonly address: string },
  { clock, logger, signal }: NodeInfoContext,
): Promise<NodeInfo> {
  const client = channel.client(iam.IAMPublicCurrentNodeService);
  for (let said = ''; ; ) {
    try {
      return readNodeInfo(await client.getCurrentNodeInfo({}, { signal, timeoutMs: UNARY_DEADLINE_MS }));
    } catch (error) {
      if (signal.aborted) throw error;
      const { message } = asCallError(error, `cannot ask the IAM at ${address} for this node`);
      if (message !== said) logger.warn({ retryMs: RETRY_MS }, `${message}; trying again`);
      said = message;
      await clock.sleep(RETRY_MS, signal);
    }
  }
}

export function readNodeInfo(message: iam.NodeInfo): NodeInfo {
  if (message.nodeId === '') throw new AosError('notFound', 'IAM knows no ID of this node');
  return {
    nodeId: message.nodeId,
    nodeType: message.nodeType,
    title: message.title,
    maxDmips: Number(message.maxDmips),
    totalRam: Number(message.totalRam),
    os: {
      os: message.osInfo?.os ?? '',
      version: message.osInfo?.version ?? '',
      features: [...(message.osInfo?.features ?? [])],
    },
    cpus: message.cpus.map((cpu) => ({
      numCores: Number(cpu.numCores),
      numThreads: Number(cpu.numThreads),
      arch: { architecture: cpu.archInfo?.architecture ?? '', variant: cpu.archInfo?.variant ?? '' },
    })),
    partitions: message.partitions.map((partition) => ({
      name: partition.name,
      types: [...partition.types],
      path: partition.path,
      totalSize: Number(partition.totalSize),
    })),
  };
}

export interface IamPermissionsOptions extends IamAddress {
  readonly credentials: CredentialSource;
  /** Type of the certificate that is shown. */
  readonly certStorage: string;
}

interface Connection {
  readonly channel: Promise<Channel>;
  /** That go on. */
  calls: number;
}

/** The permissions service of IAM's protected server, over one channel that follows changes of the certificate. */
export class IamPermissions {
  readonly #options: IamPermissionsOptions;
  readonly #unsubscribe: () => void;
  #connection: Connection | undefined;

  constructor(options: IamPermissionsOptions) {
    this.#options = options;
    this.#unsubscribe = options.credentials.onChange(options.certStorage, () => this.#renew());
  }

  /** Answers the secret. `notSupported`: permissions are switched off in IAM (spec/decisions.md C-81). */
  async register(
    ident: InstanceIdent,
    permissions: Readonly<Record<string, Readonly<Record<string, string>>>>,
    signal: AbortSignal,
  ): Promise<string> {
    const servers = Object.entries(permissions).map(([server, functions]) => [
      server,
      { permissions: { ...functions } },
    ]);
    return this.#call(async (client) => {
      const request = { instance: identMessage(ident), permissions: Object.fromEntries(servers) };
      const { secret } = await client.registerInstance(request, { signal, timeoutMs: UNARY_DEADLINE_MS });
      return secret;
    }, 'cannot register permissions at IAM');
  }

  async unregister(ident: InstanceIdent, signal: AbortSignal): Promise<void> {
    await this.#call(
      (client) =>
        client.unregisterInstance({ instance: identMessage(ident) }, { signal, timeoutMs: UNARY_DEADLINE_MS }),
      'cannot withdraw permissions at IAM',
    );
  }

  stop(): void {
    this.#unsubscribe();
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) close(connection);
  }

  /** What one call meets is no matter of the others on its channel, which opens itself again when it has to. */
  async #call<T>(work: (client: ReturnType<typeof permissionsClient>) => Promise<T>, doing: string): Promise<T> {
    this.#connection ??= { channel: this.#open(), calls: 0 };
    const connection = this.#connection;
    connection.calls += 1;
    try {
      return await work(permissionsClient(await connection.channel));
    } catch (error) {
      const failure = asCallError(error, doing);
      if (failure.code !== 'notSupported') throw failure;
      throw new AosError('notSupported', 'permissions are disabled in IAM', { cause: error });
    } finally {
      connection.calls -= 1;
      if (connection !== this.#connection && connection.calls === 0) close(connection);
    }
  }

  async #open(): Promise<Channel> {
    const { address, ca, checkHostName, credentials, certStorage } = this.#options;
    const identity = await credentials.identity(certStorage).catch((error) => {
      // The next call asks anew.
      this.#renew();
      throw error;
    });
    return new Channel({ address, tls: { ca, checkHostName, identity } });
  }

  /** Calls from now on show the new certificate; those that go on end as they began. */
  #renew(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection?.calls === 0) close(connection);
  }
}

function close({ channel }: Connection): void {
  channel.then(
    (open) => open.close(),
    // It never opened; whoever asked for it has been told.
    () => undefined,
  );
}

function permissionsClient(channel: Channel) {
  return channel.client(iam.IAMPermissionsService);
}

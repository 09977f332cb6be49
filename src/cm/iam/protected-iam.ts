/** What the CM orders of IAM, with its own certificate shown (spec/cm.md 1.6, spec/decisions.md 7.3, 8.2). */
import { iam } from '../../api/contracts.ts';
import {
  asCallError,
  Channel,
  type ClientTls,
  readErrorMessage,
  type TlsIdentity,
  UNARY_DEADLINE_MS,
} from '../../api/index.ts';
import { AosError, type Clock } from '../../core/index.ts';

const PROVISIONING_DEADLINE_MS = 600_000;
/** Keys and certificates of another node may take minutes. */
const REMOTE_KEY_DEADLINE_MS = 240_000;
/** After the notice of a new certificate (spec/decisions.md C-63). */
const REDIAL_AFTER_MS = 1_000;

export interface ProtectedIamOptions {
  /** `host:port` of IAM's protected server. */
  readonly address: string;
  /** The roots, and whether host names are checked. */
  readonly serverTls: ClientTls;
  /** What the CM shows now. */
  readonly identity: () => TlsIdentity;
  readonly clock: Clock;
}

/** The part of every answer that tells of a failure. */
interface Answer {
  readonly error?: Parameters<typeof readErrorMessage>[0];
}

/** Connects when the first order goes out: most starts of a CM order nothing. */
export class ProtectedIam {
  readonly #options: ProtectedIamOptions;
  readonly #abort = new AbortController();
  #channel: Channel | undefined;

  constructor(options: ProtectedIamOptions) {
    this.#options = options;
  }

  /** The certificate is another one: it is shown soon, and calls on the old connection end then. */
  renew(): void {
    this.#options.clock.sleep(REDIAL_AFTER_MS, this.#abort.signal).then(
      () => this.#close(),
      () => undefined,
    );
  }

  stop(): void {
    this.#abort.abort();
    this.#close();
  }

  async pauseNode(nodeId: string, signal: AbortSignal): Promise<void> {
    const client = this.#open().client(iam.IAMNodesService);
    await answered(`pause node ${nodeId}`, () => client.pauseNode({ nodeId }, within(UNARY_DEADLINE_MS, signal)));
  }

  async resumeNode(nodeId: string, signal: AbortSignal): Promise<void> {
    const client = this.#open().client(iam.IAMNodesService);
    await answered(`resume node ${nodeId}`, () => client.resumeNode({ nodeId }, within(UNARY_DEADLINE_MS, signal)));
  }

  async certTypes(nodeId: string, signal: AbortSignal): Promise<readonly string[]> {
    const client = this.#open().client(iam.IAMProvisioningService);
    const doing = `ask for the certificate types of node ${nodeId}`;
    return (await called(doing, () => client.getCertTypes({ nodeId }, within(UNARY_DEADLINE_MS, signal)))).types;
  }

  async createKey(nodeId: string, type: string, password: string, signal: AbortSignal): Promise<string> {
    const client = this.#open().client(iam.IAMCertificateService);
    const doing = `create key "${type}" on node ${nodeId}`;
    const answer = await answered(doing, () =>
      client.createKey({ nodeId, type, password }, within(REMOTE_KEY_DEADLINE_MS, signal)),
    );
    if (answer.csr === '') throw new AosError('failed', `${doing}: IAM answered no certificate request`);
    return answer.csr;
  }

  async applyCert(nodeId: string, type: string, chain: string, signal: AbortSignal): Promise<string> {
    const client = this.#open().client(iam.IAMCertificateService);
    const answer = await answered(`apply certificate "${type}" on node ${nodeId}`, () =>
      client.applyCert({ nodeId, type, cert: chain }, within(REMOTE_KEY_DEADLINE_MS, signal)),
    );
    // The serial travels as the bytes of a hex text.
    return Buffer.from(answer.certInfo?.serial ?? [])
      .toString('latin1')
      .toLowerCase();
  }

  async startProvisioning(nodeId: string, password: string, signal: AbortSignal): Promise<void> {
    const client = this.#open().client(iam.IAMProvisioningService);
    await answered(`start provisioning of node ${nodeId}`, () =>
      client.startProvisioning({ nodeId, password }, within(PROVISIONING_DEADLINE_MS, signal)),
    );
  }

  async finishProvisioning(nodeId: string, password: string, signal: AbortSignal): Promise<void> {
    const client = this.#open().client(iam.IAMProvisioningService);
    await answered(`finish provisioning of node ${nodeId}`, () =>
      client.finishProvisioning({ nodeId, password }, within(PROVISIONING_DEADLINE_MS, signal)),
    );
  }

  async deprovision(nodeId: string, password: string, signal: AbortSignal): Promise<void> {
    const client = this.#open().client(iam.IAMProvisioningService);
    await answered(`deprovision node ${nodeId}`, () =>
      client.deprovision({ nodeId, password }, within(PROVISIONING_DEADLINE_MS, signal)),
    );
  }

  #open(): Channel {
    const { address, serverTls, identity } = this.#options;
    this.#channel ??= new Channel({ address, tls: { ...serverTls, identity: identity() } });
    return this.#channel;
  }

  #close(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }
}

function within(timeoutMs: number, signal: AbortSignal): { readonly timeoutMs: number; readonly signal: AbortSignal } {
  return { timeoutMs, signal };
}

/** A call that failed becomes an AosError saying what was tried. */
async function called<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw asCallError(error, `cannot ${doing}`);
  }
}

/** As `called`, also for failures that the answer itself tells; those keep IAM's own words. */
async function answered<T extends Answer>(doing: string, call: () => Promise<T>): Promise<T> {
  const answer = await called(doing, call);
  const error = readErrorMessage(answer.error);
  if (error) throw error;
  return answer;
}

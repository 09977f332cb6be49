/** The stream of a secondary node to the main IAM: registers, serves requests, comes back (spec/iam.md 15). */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { iam } from '../../api/contracts.ts';
import { Channel, type ClientTls, iamErrorMessage } from '../../api/index.ts';
import { AosError, asAosError, type Clock, type Logger, Mailbox } from '../../core/index.ts';
import { NODE_CONNECT_TIMEOUT_MS } from '../limits.ts';
import type { LocalNode } from '../node/local-node.ts';
import { nodeInfoMessage } from '../node-info.ts';

export interface NodeLinkState {
  readonly state: 'connecting' | 'connected' | 'waiting';
  readonly address: string;
  readonly tls: boolean;
  /** ISO 8601. */
  readonly since: string;
  readonly lastError?: string;
}

/** One way to connect; asked anew at each try, so that a new certificate is used. */
export interface LinkCredential {
  readonly tls: boolean;
  material(): ClientTls | undefined;
}

export interface MainLinkOptions {
  readonly address: string;
  /** Tried in turn until one works. */
  readonly credentials: readonly LinkCredential[];
  readonly node: LocalNode;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reconnectMs: number;
}

type Outgoing = MessageInitShape<typeof iam.IAMOutgoingMessagesSchema>;
type Answer = NonNullable<Outgoing['IAMOutgoingMessage']>;
type Request = iam.IAMIncomingMessages['IAMIncomingMessage'];

const MAX_QUEUED_ANSWERS = 64;

export class MainLink {
  readonly #options: MainLinkOptions;
  readonly #stopping = new AbortController();
  #credentials: readonly LinkCredential[];
  #running: Promise<void> | undefined;
  #state: NodeLinkState;
  /** Ends the present stream, so that the next one uses the new certificate. */
  #renewing = new AbortController();

  constructor(options: MainLinkOptions) {
    this.#options = options;
    this.#credentials = options.credentials;
    this.#state = this.#stateOf('connecting', options.credentials[0]!.tls);
  }

  get state(): NodeLinkState {
    return this.#state;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Connects again, with the credentials as they are then. */
  renew(): void {
    this.#renewing.abort();
  }

  async #run(): Promise<void> {
    const { clock, reconnectMs, logger } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const [credential] = this.#credentials;
      try {
        await this.#connectOnce(credential!);
      } catch (error) {
        if (this.#stopping.signal.aborted) break;
        const { message } = asAosError(error);
        this.#state = this.#stateOf('waiting', credential!.tls, message);
        logger.warn(
          { address: this.#options.address, tls: credential!.tls, error: message },
          'no stream to the main IAM',
        );
      }
      try {
        await clock.sleep(reconnectMs, this.#stopping.signal);
      } catch {
        break; // stopped while waiting
      }
    }
  }

  /** Resolves or throws when the stream has ended. */
  async #connectOnce(credential: LinkCredential): Promise<void> {
    const { address, clock } = this.#options;
    this.#renewing = new AbortController();
    this.#state = this.#stateOf('connecting', credential.tls, this.#state.lastError);
    const signal = AbortSignal.any([this.#stopping.signal, this.#renewing.signal]);
    let worked = false;
    let channel: Channel | undefined;
    const startedMs = clock.monotonicMs();
    try {
      const tls = credential.material();
      channel = new Channel({ address, ...(tls ? { tls } : {}) });
      await channel.ready(NODE_CONNECT_TIMEOUT_MS);
      if (credential.tls) this.#settleOn(credential);
      await this.#serve(channel, credential, signal, () => {
        worked = true;
      });
    } finally {
      channel?.close();
      // A plain connection comes about with a TLS server too, and breaks at the first byte.
      const lasted = clock.monotonicMs() - startedMs >= NODE_CONNECT_TIMEOUT_MS;
      if (!worked && !lasted && !signal.aborted) this.#tryNext();
    }
  }

  async #serve(channel: Channel, credential: LinkCredential, signal: AbortSignal, onWork: () => void): Promise<void> {
    const { node, logger, address } = this.#options;
    const outbox = new Mailbox<Outgoing>(MAX_QUEUED_ANSWERS);
    const send = (message: Answer) => outbox.push({ IAMOutgoingMessage: message });
    const sendInfo = () => send({ case: 'nodeInfo', value: nodeInfoMessage(node.info) } as Answer);
    sendInfo();
    this.#state = this.#stateOf('connected', credential.tls);
    logger.info({ address, tls: credential.tls, state: node.info.state }, 'registering at the main IAM');
    try {
      const requests = channel.client(iam.IAMPublicNodesService).registerNode(outbox, { signal });
      for await (const { IAMIncomingMessage: request } of requests) {
        onWork();
        const answer = await this.#answer(request);
        // The main node knows the new state before it hears that the request is done.
        if (request.case === 'pauseNodeRequest' || request.case === 'resumeNodeRequest') sendInfo();
        send(answer);
      }
    } finally {
      outbox.close();
    }
  }

  async #answer(request: Request): Promise<Answer> {
    const { node } = this.#options;
    const foreign =
      request.value && request.value.nodeId !== '' && request.value.nodeId !== node.id
        ? new AosError('invalidArgument', `the request is for node "${request.value.nodeId}", this is "${node.id}"`)
        : undefined;
    switch (request.case) {
      case 'startProvisioningRequest':
        return {
          case: 'startProvisioningResponse',
          value: await outcome(foreign, () => node.startProvisioning(request.value.password)),
        } as Answer;
      case 'finishProvisioningRequest':
        return {
          case: 'finishProvisioningResponse',
          value: await outcome(foreign, () => node.finishProvisioning()),
        } as Answer;
      case 'deprovisionRequest':
        return { case: 'deprovisionResponse', value: await outcome(foreign, () => node.deprovision()) } as Answer;
      case 'pauseNodeRequest':
        return { case: 'pauseNodeResponse', value: await outcome(foreign, () => node.pause()) } as Answer;
      case 'resumeNodeRequest':
        return { case: 'resumeNodeResponse', value: await outcome(foreign, () => node.resume()) } as Answer;
      case 'getCertTypesRequest':
        return { case: 'certTypesResponse', value: { types: foreign ? [] : node.certTypes() } } as Answer;
      case 'createKeyRequest': {
        const { nodeId, type, subject } = request.value;
        let csr = '';
        const failed = await outcome(foreign, async () => {
          csr = await node.createKey(type, subject);
        });
        return { case: 'createKeyResponse', value: { nodeId: nodeId || node.id, type, csr, ...failed } } as Answer;
      }
      case 'applyCertRequest': {
        const { nodeId, type, cert } = request.value;
        let certInfo: object = { type };
        const failed = await outcome(foreign, async () => {
          const { certUrl, serial } = await node.applyCertificate(type, cert);
          certInfo = { type, certUrl, serial: Buffer.from(serial.toString('hex')) };
        });
        return { case: 'applyCertResponse', value: { nodeId: nodeId || node.id, certInfo, ...failed } } as Answer;
      }
      default:
        // Nobody would hear an answer; the main IAM learns at the reconnection that nothing came of it.
        throw new AosError('notSupported', 'the main IAM sent a request that this node does not know');
    }
  }

  /** Once TLS has worked, plain text is not tried any more (spec/decisions.md IA-15). */
  #settleOn(credential: LinkCredential): void {
    this.#credentials = [credential];
  }

  #tryNext(): void {
    const [failed, ...others] = this.#credentials;
    this.#credentials = [...others, failed!];
  }

  #stateOf(state: NodeLinkState['state'], tls: boolean, lastError?: string): NodeLinkState {
    const { address, clock } = this.#options;
    return { state, address, tls, since: clock.now().toISOString(), ...(lastError === undefined ? {} : { lastError }) };
  }
}

/** The content of an answer: nothing, or why not. */
async function outcome(
  refusal: AosError | undefined,
  work: () => Promise<unknown>,
): Promise<{ error?: ReturnType<typeof iamErrorMessage> }> {
  try {
    if (refusal) throw refusal;
    await work();
    return {};
  } catch (error) {
    return { error: iamErrorMessage(error) };
  }
}

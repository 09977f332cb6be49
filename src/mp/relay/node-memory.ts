/** What the proxy remembers of a node's IAM stream: its last description (spec/mp.md 9). */
import type { iam } from '../../api/contracts.ts';
import type { PeerIdentity } from './peer-identity.ts';
import type { StreamMemory } from './stream-relay.ts';

export class NodeMemory implements StreamMemory<iam.IAMOutgoingMessages> {
  readonly #identity: PeerIdentity;
  readonly #onInfo: () => void;
  #info: iam.IAMOutgoingMessages | undefined;

  /** `onInfo`: the node describes itself, so it registers here and nowhere else. */
  constructor(identity: PeerIdentity, onInfo: () => void) {
    this.#identity = identity;
    this.#onInfo = onInfo;
  }

  note(message: iam.IAMOutgoingMessages): void {
    const { case: kind, value } = message.IAMOutgoingMessage;
    if (kind !== 'nodeInfo') return;
    this.#identity.named(value.nodeId);
    this.#info = message;
    this.#onInfo();
  }

  /** An answer belongs to a stream that is gone. */
  hold(): void {
    // Nobody would match it with a request any more.
  }

  replay(): iam.IAMOutgoingMessages[] {
    return this.#info ? [this.#info] : [];
  }
}

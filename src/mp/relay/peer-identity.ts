/** Who the peer of a connection is: one node, one certificate of its service manager (spec/decisions.md 3.1). */
import { AosError } from '../../core/index.ts';

export class PeerIdentity {
  #nodeId: string | undefined;
  #certificate: string | undefined;

  get nodeId(): string | undefined {
    return this.#nodeId;
  }

  /** The peer says its node ID. Throws `wrongState` when it said another one before. */
  named(nodeId: string): void {
    if (nodeId === '') throw new AosError('invalidArgument', 'the peer names itself with an empty node ID');
    this.#nodeId ??= nodeId;
    if (this.#nodeId !== nodeId) {
      throw new AosError('wrongState', `the peer says that it is node "${nodeId}", it was "${this.#nodeId}" before`);
    }
  }

  /** The peer showed its `sm` certificate. Throws `wrongState` when it was another one on another channel. */
  showed(certificate: string): void {
    this.#certificate ??= certificate;
    if (this.#certificate !== certificate) {
      throw new AosError('wrongState', 'the channels of the service manager show different certificates');
    }
  }

  /** Its channels are all closed; they may come back with a new certificate. */
  forgetCertificate(): void {
    this.#certificate = undefined;
  }
}

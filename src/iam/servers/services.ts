/** What the services of both servers work with. */
import type { CertificateHandler } from '../certificates/certificate-handler.ts';
import type { Identifier } from '../identity/identifier.ts';
import type { LocalNode } from '../node/local-node.ts';
import type { NodeInfo } from '../node-info.ts';
import type { NodeLinks } from '../nodes/node-links.ts';
import type { NodeRegistry } from '../nodes/node-registry.ts';
import type { PermissionHandler } from '../permissions/permission-handler.ts';
import { Latest } from './latest.ts';
import { StreamGroup } from './stream-group.ts';

/** What only the main node has. */
export interface MainNodeParts {
  readonly identifier: Identifier;
  readonly registry: NodeRegistry;
  readonly links: NodeLinks;
}

export interface ServiceParts {
  readonly node: LocalNode;
  readonly certificates: CertificateHandler;
  /** Absent when disabled. */
  readonly permissions?: PermissionHandler | undefined;
  readonly main?: MainNodeParts | undefined;
}

/** Parts, and the subscriptions of clients to them. One set for both servers. */
export class Services {
  readonly parts: ServiceParts;
  readonly currentNode = new Latest<NodeInfo>();
  readonly nodes = new Latest<NodeInfo>();
  readonly subjects = new Latest<readonly string[]>();
  readonly streams = new StreamGroup();
  readonly #unsubscribe: (() => void)[] = [];

  constructor(parts: ServiceParts) {
    this.parts = parts;
    const { node, main } = parts;
    if (main) {
      this.#unsubscribe.push(
        // The registry is told first, so that whoever hears of the change finds it there.
        node.onChange((info) => main.registry.set(info, true)),
        main.registry.onChange(({ info }) => this.nodes.publish(info, info.nodeId)),
        main.identifier.onSubjectsChange((subjects) => this.subjects.publish(subjects)),
      );
    }
    this.#unsubscribe.push(node.onChange((info) => this.currentNode.publish(info)));
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.streams.end();
  }

  /** For a stream of a client: aborts when the client goes, or the server wants it to end. */
  signalFor(client: AbortSignal): AbortSignal {
    return AbortSignal.any([client, this.streams.signal]);
  }
}

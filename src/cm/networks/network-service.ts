/** `servicemanager.v5.NetworkService` (spec/cm.md 7.3): failures travel in the answer, success without an error object. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { network } from '../../api/contracts.ts';
import { identMessage, readIdentMessage } from '../../api/index.ts';
import { type Logger, Mailbox, toErrorInfo } from '../../core/index.ts';
import { NODES } from '../numbers.ts';
import type { FirewallRule, RulePush } from './model.ts';
import type { NetworkManager } from './network-manager.ts';

type Notification = network.InstanceNetworkUpdateNotification;

export class NetworkService {
  readonly #manager: NetworkManager;
  readonly #logger: Logger;
  /** One subscription per node, the newest. */
  readonly #subscriptions = new Map<string, Mailbox<Notification>>();

  constructor(manager: NetworkManager, logger: Logger) {
    this.#manager = manager;
    this.#logger = logger;
    manager.onPush((push) => this.#push(push));
  }

  /** To be registered on the server of service managers. */
  readonly routes = (router: ConnectRouter): void => {
    router.service(network.NetworkService, {
      getNodeNetworkParams: ({ networkId, nodeId }) =>
        answer(async () => {
          const { network: found, host } = await this.#manager.nodeNetwork(networkId, nodeId);
          return { subnet: found.subnet, ip: host.ip, vlanId: BigInt(found.vlanId) };
        }),
      allocateInstanceNetwork: ({ instance, networkId, nodeId, serviceData }) =>
        answer(async () => {
          const result = await this.#manager.allocate({
            ident: readIdentMessage(instance),
            networkId,
            nodeId,
            data: {
              hosts: serviceData?.hosts ?? [],
              exposedPorts: serviceData?.exposedPorts ?? [],
              allowedConnections: serviceData?.allowedConnections ?? [],
            },
          });
          return {
            subnet: result.network.subnet,
            ip: result.instance.ip,
            dnsServers: [...result.instance.dnsServers],
            firewallRules: result.rules.map(ruleMessage),
          };
        }),
      releaseInstanceNetwork: ({ instance, nodeId }) =>
        answer(async () => {
          await this.#manager.release(readIdentMessage(instance), nodeId);
          return {};
        }),
      releaseNodeNetwork: ({ networkId, nodeId }) =>
        answer(async () => {
          await this.#manager.releaseNode(networkId, nodeId);
          return {};
        }),
      syncNetworkState: ({ nodeId, instances }) =>
        answer(async () => {
          const running = instances.map(({ instance, networkId, ip, firewallRules }) => ({
            ident: readIdentMessage(instance),
            networkId,
            ip,
            rules: firewallRules.map(readRule),
          }));
          await this.#manager.sync(nodeId, running);
          return {};
        }),
      subscribeInstanceNetworkUpdates: ({ nodeId }, context) => this.#subscribe(nodeId, context),
    });
  };

  async *#subscribe(nodeId: string, context: HandlerContext) {
    const box = new Mailbox<Notification>(NODES.maxQueuedPerStream);
    this.#subscriptions.get(nodeId)?.close();
    this.#subscriptions.set(nodeId, box);
    const end = () => box.close();
    context.signal.addEventListener('abort', end);
    try {
      yield* box;
    } finally {
      context.signal.removeEventListener('abort', end);
      if (this.#subscriptions.get(nodeId) === box) this.#subscriptions.delete(nodeId);
    }
  }

  /** Without a subscription the rules wait for the node's next synchronisation. */
  #push({ nodeId, ident, rules }: RulePush): void {
    const box = this.#subscriptions.get(nodeId);
    if (!box) {
      this.#logger.warn({ nodeId }, 'firewall rules wait until the node synchronises');
      return;
    }
    box.push(
      create(network.InstanceNetworkUpdateNotificationSchema, {
        update: {
          case: 'pendingFirewallUpdate',
          value: { instance: identMessage(ident), firewallRules: rules.map(ruleMessage) },
        },
      }),
    );
  }
}

async function answer<T extends object>(work: () => Promise<T>) {
  try {
    return await work();
  } catch (error) {
    return { error: toErrorInfo(error) };
  }
}

function ruleMessage({
  dstIp,
  dstPort,
  proto,
  srcIp,
}: FirewallRule): MessageInitShape<typeof network.FirewallRuleSchema> {
  return { dstIp, dstPort, proto, srcIp };
}

function readRule({ dstIp, dstPort, proto, srcIp }: network.FirewallRule): FirewallRule {
  return { dstIp, dstPort, proto, srcIp };
}

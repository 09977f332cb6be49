/** A host with the networks of instances of its own, beside a CM that answers what a story wants. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  AosError,
  type Clock,
  type InstanceIdent,
  instanceId,
  silentLogger,
  systemClock,
} from '../../../core/index.ts';
import { HostNameServers } from '../../../platform/dnsmasq/index.ts';
import { HostLinks } from '../../../platform/ip/index.ts';
import { HostNetworkNamespaces } from '../../../platform/netns/index.ts';
import { HostNft } from '../../../platform/nft/index.ts';
import type { NetworkRequest } from '../../launcher/index.ts';
import { NetworkManager, type NetworkManagerOptions } from '../network-manager.ts';
import { type InstanceNetworkRow, NETWORK_TABLES, NetworkRows } from '../network-rows.ts';
import { TrafficRows } from '../traffic-rows.ts';
import { OUTSIDE } from './outside.ts';

interface Rule {
  readonly dstIp: string;
  readonly dstPort: string;
  readonly proto: string;
  readonly srcIp: string;
}

/** Owner `red` is 172.17.0.0/16, `blue` 172.18.0.0/16, others what a story says. */
export class FakeNetworkCm {
  readonly log: string[] = [];
  readonly rules = new Map<string, readonly Rule[]>();
  /** By owner. */
  readonly subnets = new Map([
    ['red', '172.17.0.0/16'],
    ['blue', '172.18.0.0/16'],
  ]);
  /** Given one after the other, the last one for ever; default: 7. */
  readonly vlanIds = new Map<string, number[]>();
  #next = 2;
  #isForgetful = false;

  /** Knows no network until it is asked for it. */
  loseDatabase(): void {
    this.#isForgetful = true;
  }

  async nodeNetwork(networkId: string) {
    this.log.push(`network ${networkId}`);
    this.#isForgetful = false;
    const ids = this.vlanIds.get(networkId) ?? [7];
    return {
      subnet: this.#subnet(networkId),
      ip: this.#address(networkId, 1),
      vlanId: ids.length > 1 ? ids.shift()! : ids[0]!,
    };
  }

  async allocate(ident: InstanceIdent, networkId: string) {
    if (ident.itemId === 'refused') throw new AosError('noMemory', 'CM: no address is left');
    if (this.#isForgetful) throw new AosError('runtime', 'CM: network not found');
    this.log.push(`allocate ${ident.itemId}`);
    const ip = this.#address(networkId, this.#next);
    this.#next += 1;
    const subnet = ident.itemId === 'broken' ? '172.17.0.0/99' : this.#subnet(networkId);
    return { subnet, ip, dnsServers: [OUTSIDE.ip], firewallRules: this.rules.get(ident.itemId) ?? [] };
  }

  async releaseInstance(ident: InstanceIdent) {
    this.log.push(`release ${ident.itemId}`);
  }

  async releaseNode(networkId: string) {
    this.log.push(`release network ${networkId}`);
  }

  async syncNetworks(states: readonly { ident: InstanceIdent; ip: string }[]) {
    this.log.push(`sync ${states.map(({ ident }) => ident.itemId).join(' ')}`);
  }

  async *firewallUpdates() {
    yield* [];
  }

  #subnet(networkId: string): string {
    return this.subnets.get(networkId) ?? '172.30.0.0/16';
  }

  #address(networkId: string, host: number): string {
    return this.#subnet(networkId).replace(/\d+\.\d+\/\d+$/, `${host >> 8}.${host & 255}`);
  }
}

export function request(
  itemId: string,
  ownerId: string,
  more: { exposedPorts?: string[]; quotas?: object; hostname?: string } = {},
): NetworkRequest {
  const ident = { itemId, subjectId: 's', instance: 0, type: 'service', preinstalled: false } as const;
  const { exposedPorts = [], quotas = {}, hostname = itemId } = more;
  return {
    info: { ident, ownerId } as NetworkRequest['info'],
    item: {
      imageConfig: { config: { exposedPorts } },
      itemConfig: { hostname, allowedConnections: [], resources: [], quotas },
    } as unknown as NetworkRequest['item'],
  };
}

export const idOf = ({ info }: NetworkRequest): string => instanceId(info.ident);

export class NetworkHost {
  readonly database: DatabaseSync;
  readonly cm = new FakeNetworkCm();
  readonly directory = mkdtempSync(join(tmpdir(), 'aos-network-'));
  date = new Date('2026-03-04T12:00:00Z');
  readonly clock: Clock = { ...systemClock, now: () => this.date };

  constructor(database = new DatabaseSync(':memory:')) {
    this.database = database;
    this.database.exec(NETWORK_TABLES);
  }

  /** As after a start of the service manager: it knows what is in the database, and nothing else. */
  manager(more: Partial<NetworkManagerOptions> = {}): NetworkManager {
    return new NetworkManager({
      rows: new NetworkRows(this.database),
      trafficRows: new TrafficRows(this.database, silentLogger),
      cm: this.cm,
      namespaces: new HostNetworkNamespaces(),
      links: new HostLinks(),
      nft: new HostNft(),
      nameServers: new HostNameServers(),
      namesDirectory: join(this.directory, 'dns'),
      resources: { hosts: () => [] },
      vlan: 'auto',
      names: 'required',
      withIpv6: true,
      trafficPeriod: 'day',
      clock: this.clock,
      logger: silentLogger,
      ...more,
    });
  }

  row(itemId: string): InstanceNetworkRow | undefined {
    return new NetworkRows(this.database).instances().find(({ ident }) => ident.itemId === itemId);
  }

  ip(itemId: string): string {
    return this.row(itemId)?.parameters.ip ?? '';
  }

  /** Name of the bridge of an owner. */
  bridge(networkId: string): string {
    return new NetworkRows(this.database).network(networkId)?.bridge ?? '';
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** `ok`, or the code and the words of what failed. */
export function outcomeOf(outcomes: ReadonlyMap<string, unknown>, wanted: NetworkRequest): string {
  const outcome = outcomes.get(idOf(wanted));
  return outcome instanceof AosError ? `${outcome.code}: ${outcome.message}` : 'ok';
}

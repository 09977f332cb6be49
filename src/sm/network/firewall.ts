/** The firewall and the counters of this node: one transaction makes both what the instances need. */
import type { Nft } from '../../platform/nft/index.ts';
import { type InstanceFirewall, isOursAlone, type Masquerade, planFirewall } from './firewall-script.ts';
import { NO_FIREWALL, readFirewall } from './firewall-state.ts';
import type { Traffic, TrafficLimits } from './traffic.ts';
import { readTraffic, TRAFFIC_TABLE } from './traffic-script.ts';

const FIREWALL_TABLE = 'aos';

export interface FirewalledInstance extends InstanceFirewall {
  readonly limits: TrafficLimits;
}

export interface FirewallOptions {
  readonly nft: Nft;
  readonly traffic: Traffic;
  /** What is up, and the networks of it. */
  readonly wanted: () => {
    readonly instances: readonly FirewalledInstance[];
    readonly networks: readonly Masquerade[];
  };
}

export class Firewall {
  readonly #options: FirewallOptions;
  /** Changed by one at a time: each plan is made from what the tables hold. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  /** Makes both tables what is wanted; `changed` are instances whose chains are filled anew. */
  change(changed: readonly string[], signal: AbortSignal): Promise<void> {
    const done = this.#turn.then(async () => {
      const { nft, traffic, wanted } = this.#options;
      const [firewallListing, trafficListing] = await Promise.all([
        nft.list(FIREWALL_TABLE, signal),
        nft.list(TRAFFIC_TABLE, signal),
      ]);
      const { instances, networks } = wanted();
      const state = firewallListing === undefined ? NO_FIREWALL : readFirewall(firewallListing);
      const table = trafficListing === undefined ? undefined : readTraffic(trafficListing);
      const statements = [
        ...planFirewall(state, { instances, networks }, new Set(changed)),
        ...traffic.change(instances, table),
      ];
      await nft.apply(statements, signal);
    });
    // The next one in the queue plans from what is there, whatever became of this one.
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /**
   * Counts a last time and removes both tables, when nothing is up that needs them (spec/sm.md 7.8); that of the firewall
   * only when it was made by us and nobody else has put anything into it.
   */
  async withdraw(signal: AbortSignal): Promise<void> {
    const { nft, wanted } = this.#options;
    await this.change([], signal);
    if (wanted().instances.length > 0) return;
    const left = await nft.list(FIREWALL_TABLE, signal);
    const isOurs = left !== undefined && isOursAlone(readFirewall(left));
    const tables = [...(isOurs ? [`inet ${FIREWALL_TABLE}`] : []), `inet ${TRAFFIC_TABLE}`];
    // Adding first makes it no error that one is not there.
    await nft.apply(
      tables.flatMap((table) => [`add table ${table}`, `delete table ${table}`]),
      signal,
    );
  }
}

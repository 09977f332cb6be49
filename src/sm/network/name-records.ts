/** What the name server of a network answers (spec/sm.md 7.4, 7.6, spec/decisions.md T-50). Pure. */
import { AosError, instanceId, instanceName } from '../../core/index.ts';
import type { NameRecords } from '../../platform/dnsmasq/index.ts';
import { ipv6Of } from './ipv6.ts';
import { instanceHosts } from './names.ts';
import type { InstanceNetworkRow } from './network-rows.ts';

/** Anything else could end a line, or be taken for an option. */
const HOST_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})$/;

/** Every name also with the name of the network, as the CM's names are. */
function namesOf({ ident, networkId, wishes }: InstanceNetworkRow): string[] {
  const suffix = `.${networkId}`;
  const all = instanceHosts(ident, wishes.hostname, networkId).flatMap((name) =>
    name.endsWith(suffix) ? [name] : [name, `${name}${suffix}`],
  );
  return [...new Set(all)].filter((name) => HOST_NAME.test(name));
}

/** Records of the instances of one network, each line naming its instance. */
export function nameRecords(instances: readonly InstanceNetworkRow[], withIpv6: boolean): NameRecords {
  return {
    hosts: instances.flatMap((row) => {
      const { ip } = row.parameters;
      const addresses = withIpv6 ? [ip, ipv6Of(row.networkId, ip)] : [ip];
      return addresses.map((address) => `${[address, ...namesOf(row)].join('\t')} # ${instanceId(row.ident)}`);
    }),
    own: [...new Set(instances.flatMap(namesOf))].toSorted(),
    upstreams: [...new Set(instances.flatMap(({ parameters }) => parameters.dnsServers))].filter(isAddress),
  };
}

function isAddress(text: string): boolean {
  return /^(?:\d{1,3}\.){3}\d{1,3}$/.test(text);
}

/** Which instance has which name, in all networks. */
export class TakenNames {
  readonly #owners = new Map<string, InstanceNetworkRow>();

  /** Of instances that run. */
  constructor(rows: readonly InstanceNetworkRow[]) {
    for (const row of rows) for (const name of namesOf(row)) this.#owners.set(keyOf(row, name), row);
  }

  /** Takes all names of an instance. Throws `alreadyExist` when another one of its network has one of them. */
  take(row: InstanceNetworkRow): void {
    const names = namesOf(row);
    for (const name of names) {
      const owner = this.#owners.get(keyOf(row, name));
      if (owner !== undefined) {
        throw new AosError('alreadyExist', `the name "${name}" is that of ${instanceName(owner.ident)} already`);
      }
    }
    for (const name of names) this.#owners.set(keyOf(row, name), row);
  }
}

/** No name has a space in it. */
const keyOf = ({ networkId }: InstanceNetworkRow, name: string) => `${name} ${networkId}`;

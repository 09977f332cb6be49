/** Files in `/etc` of a container that tell it about the network (spec/sm.md 5.9, 7.6). Pure. */
export interface RootNetwork {
  /** One line each, in this order; lines with the same address are joined. */
  readonly hosts: readonly { readonly ip: string; readonly name: string }[];
  readonly dnsServers: readonly string[];
  readonly hostname: string;
}

/** Name of the file in `/etc` to its content. */
export function networkFiles({
  hosts,
  dnsServers,
  hostname,
}: RootNetwork): Readonly<Record<'hosts' | 'resolv.conf' | 'hostname', string>> {
  const names = new Map<string, string[]>();
  for (const { ip, name } of hosts) names.set(ip, [...(names.get(ip) ?? []), name]);
  return {
    hosts: [...names].map(([ip, all]) => `${ip}\t${all.join(' ')}\n`).join(''),
    'resolv.conf': dnsServers.map((server) => `nameserver ${server}\n`).join(''),
    hostname: `${hostname}\n`,
  };
}

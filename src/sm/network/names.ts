/** Names of what a network consists of on the host (spec/sm.md 7.2). Pure. */

/** FNV-1a, 32 bits, as eight hex digits. */
export function fnv1a(text: string): string {
  let hash = 2_166_136_261;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 16_777_619) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

export function hostInterface(instanceId: string): string {
  return `veth${fnv1a(instanceId)}`;
}

export function ifbInterface(hostInterface: string): string {
  return `ifb-${fnv1a(hostInterface)}`;
}

/** The id as nftables takes it in a name. */
function plain(instanceId: string): string {
  return instanceId.replaceAll(/[^A-Za-z0-9_]/g, '_');
}

export function instanceChain(instanceId: string): string {
  return `instance_${plain(instanceId)}`;
}

export function trafficChains(instanceId: string): { readonly in: string; readonly out: string } {
  return { in: `in_${plain(instanceId)}`, out: `out_${plain(instanceId)}` };
}

/** Directory of a network: its id, unless that would be another place than one of ours. */
export function networkDirectory(networkId: string): string {
  return /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/.test(networkId) ? networkId : `network-${fnv1a(networkId)}`;
}

/** Names under which an instance is found (spec/sm.md 7.3, 7.4): the host name, and its number, subject and item. */
export function instanceHosts(
  ident: { readonly itemId: string; readonly subjectId: string; readonly instance: number },
  hostname: string | undefined,
  networkId: string,
): string[] {
  const { itemId, subjectId, instance } = ident;
  const names = hostname ? [hostname] : [];
  if (itemId && subjectId) {
    names.push(`${instance}.${subjectId}.${itemId}`, `${instance}.${subjectId}.${itemId}.${networkId}`);
    if (instance === 0) names.push(`${subjectId}.${itemId}`, `${subjectId}.${itemId}.${networkId}`);
  }
  return [...new Set(names)];
}

/** What every container knows of itself (spec/sm.md 7.6). */
export const LOCAL_HOSTS: readonly { readonly ip: string; readonly name: string }[] = [
  { ip: '127.0.0.1', name: 'localhost' },
  { ip: '::1', name: 'localhost' },
  { ip: '::1', name: 'ip6-localhost' },
  { ip: '::1', name: 'ip6-loopback' },
];

/** As only a service manager names its bridges; others have fewer digits, or more. */
export function isBridgeOfOurs(name: string): boolean {
  return /^br-[0-9a-f]{8}$/.test(name);
}

/** Only ids of instances are UUIDs of version 3. */
export function isInstanceId(name: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-3[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(name);
}

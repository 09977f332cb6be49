/** IPv6 addresses between instances of one network. The CM gives IPv4 only; these follow from what it gives. Pure. */
import { createHash } from 'node:crypto';

export const IPV6_PREFIX = 64;

const PREFIX_DIGITS = 10;

/** A unique local address (RFC 4193): the network is in its prefix, the IPv4 address in its end. Equal on every node. */
export function ipv6Of(networkId: string, ip: string): string {
  const host = ip
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join('');
  return `${prefixOf(networkId)}::${host.slice(0, 4)}:${host.slice(4)}`;
}

/** With its length. */
export function ipv6Subnet(networkId: string): string {
  return `${prefixOf(networkId)}::/${IPV6_PREFIX}`;
}

function prefixOf(networkId: string): string {
  const digits = `fd${createHash('sha256').update(networkId).digest('hex').slice(0, PREFIX_DIGITS)}`;
  return [digits.slice(0, 4), digits.slice(4, 8), digits.slice(8, 12)].join(':');
}

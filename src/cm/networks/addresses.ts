/** IPv4 addresses and the subnets of the unit (spec/cm.md 6.1, spec/decisions.md 8.1). Pure. */

import { AosError } from '../../core/index.ts';

/** In the order in which networks take them; each of 65,536 addresses. */
export const SUBNETS: readonly string[] = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31].map(
  (second) => `172.${second}.0.0/16`,
);

/** Throws `invalidArgument` for what is no subnet of this size. */
export function checkSubnet(text: string): void {
  const match = /^(\d{1,3})\.(\d{1,3})\.0\.0\/16$/.exec(text);
  if (match && Number(match[1]) <= 255 && Number(match[2]) <= 255) return;
  throw new AosError('invalidArgument', `network.pools: "${text}" is not a subnet such as 172.17.0.0/16`);
}

const PREFIX_LENGTH = 16;
const HOST_MASK = 0xffff;
/** `.0.1` is the gateway's by habit, `.255.255` is broadcast. */
const FIRST_HOST = 2;
const LAST_HOST = HOST_MASK - 1;

export interface Route {
  /** As numbers, the first byte highest. */
  readonly destination: number;
  readonly mask: number;
  readonly gateway: number;
}

export function parseIp(text: string): number {
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatIp(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

function baseOf(subnet: string): number {
  return parseIp(subnet.slice(0, subnet.indexOf('/')));
}

export function isInSubnet(ip: string, subnet: string): boolean {
  return parseIp(ip) >>> PREFIX_LENGTH === baseOf(subnet) >>> PREFIX_LENGTH;
}

/** The subnet that an address would be in. */
export function subnetOf(ip: string): string {
  return `${formatIp((parseIp(ip) & ~HOST_MASK) >>> 0)}/${PREFIX_LENGTH}`;
}

/** True when a route of the host leads into the subnet or over it, the default route's destination aside. */
export function overlaps(subnet: string, { destination, mask, gateway }: Route): boolean {
  const base = baseOf(subnet);
  const own = ~HOST_MASK >>> 0;
  const common = (mask & own) >>> 0;
  const isDestination = mask !== 0 && (base & common) >>> 0 === (destination & common) >>> 0;
  const isGateway = gateway !== 0 && (gateway & own) >>> 0 === base;
  return isDestination || isGateway;
}

/** The next free address after the one given last; undefined when all are in use. */
export function nextAddress(
  subnet: string,
  used: ReadonlySet<string>,
  lastGiven: string | undefined,
): string | undefined {
  const base = baseOf(subnet);
  const count = LAST_HOST - FIRST_HOST + 1;
  const start = lastGiven === undefined ? 0 : (parseIp(lastGiven) & HOST_MASK) - FIRST_HOST + 1;
  for (let step = 0; step < count; step += 1) {
    const address = formatIp(base + FIRST_HOST + ((start + step) % count));
    if (!used.has(address)) return address;
  }
  return undefined;
}

/** The kernel's table `/proc/net/route`: numbers in the byte order of the machine, which is little-endian. */
export function parseRoutes(text: string): Route[] {
  const swap = (hex: string) => Buffer.from(hex, 'hex').readUInt32LE(0);
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length >= 8)
    .map((fields) => ({ destination: swap(fields[1]!), gateway: swap(fields[2]!), mask: swap(fields[7]!) }));
}

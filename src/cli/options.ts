/** Values of options, checked where they come in. */
import { InvalidArgumentError } from 'commander';

/** A whole number from 0. */
export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number, 0 or more.');
  return Number(text);
}

/** `host`, `host:port` or `[v6]:port`; a missing port is added. */
export function withDefaultPort(address: string, port: number): string {
  return /:\d+$/.test(address) && (!address.includes('::') || address.startsWith('[')) ? address : `${address}:${port}`;
}

/** Collects an option that may be given several times. */
export function collect(value: string, former: readonly string[] = []): string[] {
  return [...former, value];
}

/** Values of options, checked where they come in. */
import { InvalidArgumentError } from 'commander';
import { AosError, parseDuration } from '../core/index.ts';

/** A whole number from 0. */
export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number, 0 or more.');
  return Number(text);
}

/** `host`, `host:port` or `[v6]:port`; a missing port is added. Throws `invalidArgument` when it is none of these. */
export function withDefaultPort(address: string, port: number): string {
  const hasPort = /:\d+$/.test(address) && (!address.includes('::') || address.startsWith('['));
  const full = hasPort ? address : `${address}:${port}`;
  if (address === '' || address.includes('/') || !URL.canParse(`http://${full}`)) {
    throw new AosError('invalidArgument', `"${address}" is no address: expected host or host:port`);
  }
  return full;
}

/** A span of time, as it was written: `90s`, `30m`, `2h`. */
export function checkDuration(text: string): string {
  try {
    parseDuration(text);
    return text;
  } catch {
    throw new InvalidArgumentError('Expected a span of time such as 30m or 2h.');
  }
}

/** Collects an option that may be given several times. */
export function collect(value: string, former: readonly string[] = []): string[] {
  return [...former, value];
}

/** Addresses of daemons as configuration writes them: `host:port`, or `:port` for every IPv4 interface. */
import { AosError } from '../core/index.ts';

export interface Address {
  /** Empty for "every interface". IPv6 hosts are without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Throws `invalidArgument` naming the text. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new AosError('invalidArgument', `"${text}" is not an address of the form host:port or :port`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

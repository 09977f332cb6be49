/** Addresses of the CM's file server as a node must use them. Pure. */
import { isIPv4 } from 'node:net';

/**
 * A URL that names the loopback, as seen from the main node, gets the host of the CM, unless that is the loopback too
 * (spec/decisions.md C-74). What is no URL is left to whoever downloads.
 */
export function reachableUrl(url: string, cmHost: string): string {
  const parsed = URL.parse(url);
  if (!parsed || cmHost === '' || !isLoopback(parsed.hostname) || isLoopback(cmHost)) return url;
  parsed.hostname = cmHost.includes(':') && !cmHost.startsWith('[') ? `[${cmHost}]` : cmHost;
  return parsed.href;
}

function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return (
    name === 'localhost' || name.endsWith('.localhost') || name === '::1' || (isIPv4(name) && name.startsWith('127.'))
  );
}

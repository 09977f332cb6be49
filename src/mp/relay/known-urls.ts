/** Which addresses a peer may have fetched: those that the proxy named itself (spec/decisions.md 3.2). */
import { isIPv4 } from 'node:net';
import { AosError } from '../../core/index.ts';
import { MAX_KNOWN_URLS } from '../numbers.ts';

export class KnownUrls {
  readonly #origin: string | undefined;
  readonly #urls = new Set<string>();

  /** `fileServerUrl`: everything below its origin is allowed too; empty for nothing. */
  constructor(fileServerUrl: string) {
    this.#origin = fileServerUrl === '' ? undefined : URL.parse(fileServerUrl)?.origin;
  }

  /** The peer was told of these; the oldest of too many are forgotten. */
  add(urls: readonly string[]): void {
    for (const url of urls.filter((text) => text !== '')) {
      this.#urls.delete(url);
      this.#urls.add(url);
      const oldest = this.#urls.values().next();
      if (this.#urls.size > MAX_KNOWN_URLS && !oldest.done) this.#urls.delete(oldest.value);
    }
  }

  /** Throws `invalidArgument` for an address that the peer may not have fetched. */
  check(url: string): URL {
    const parsed = URL.parse(url);
    const isHttp = parsed?.protocol === 'http:' || parsed?.protocol === 'https:';
    if (parsed && isHttp && (this.#urls.has(url) || (this.#origin !== undefined && parsed.origin === this.#origin))) {
      return parsed;
    }
    throw new AosError('invalidArgument', 'address not handed out');
  }
}

/** The address as the proxy must use it: a loopback host means the host of the CM (spec/decisions.md C-74). */
export function reachableFromProxy(url: URL, cmHost: string): URL {
  if (!isLoopback(url.hostname) || isLoopback(cmHost) || cmHost === '') return url;
  const reachable = new URL(url);
  reachable.hostname = cmHost.includes(':') ? `[${cmHost}]` : cmHost;
  return reachable;
}

function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return (
    name === 'localhost' || name.endsWith('.localhost') || name === '::1' || (isIPv4(name) && name.startsWith('127.'))
  );
}

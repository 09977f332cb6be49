/** Long lists in pages: `limit`, `after`, and the way to the next page in the header `Link` (RFC 8288). */
import { readLimit } from './limits.ts';
import type { Call } from './router.ts';

const MOST = 10_000;

/**
 * The page that is asked for; all, in their own order, when none is. Pages are in the order of the keys, so that
 * nothing is left out or told twice when something comes or goes between two of them.
 */
export function pageOf<T>(call: Call, all: readonly T[], keyOf: (entry: T) => string): readonly T[] {
  const after = call.query('after');
  if (call.query('limit') === undefined && after === undefined) return all;
  const limit = readLimit(call, MOST, MOST);
  const rest = all
    .map((entry) => ({ entry, key: keyOf(entry) }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const page = rest.slice(0, limit);
  if (rest.length > limit) {
    const next = new URL(call.request.url ?? '/', 'https://cloud');
    next.searchParams.set('after', page.at(-1)!.key);
    call.response.setHeader('link', `<${next.pathname}${next.search}>; rel="next"`);
  }
  return page.map(({ entry }) => entry);
}

/** News as server-sent events. */
import type { ServerResponse } from 'node:http';
import type { UnitEvents } from '../units/events.ts';

const HEARTBEAT_MS = 15_000;
/** A reader that is behind by more than this is cut off; it looks at the unit anew when it comes again. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/** Sends the news of one unit, or of all that the reader sees, until the reader goes away. */
export function streamEvents(
  response: ServerResponse,
  events: UnitEvents,
  systemId: string | undefined,
  sees: (systemId: string) => boolean = () => true,
): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': these are the news\n\n');
  const unsubscribe = events.subscribe((news) => {
    if ((systemId !== undefined && news.systemId !== systemId) || !sees(news.systemId)) return;
    response.write(`event: ${news.event}\ndata: ${JSON.stringify(dataOf(news, systemId))}\n\n`);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  });
  const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
  response.on('close', () => {
    clearInterval(heartbeat);
    unsubscribe();
  });
}

function dataOf(news: { readonly systemId: string; readonly at: string; readonly data: object }, systemId?: string) {
  return { at: news.at, ...(systemId === undefined && { systemId: news.systemId }), ...news.data };
}

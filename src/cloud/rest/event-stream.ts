/** News as server-sent events. */
import type { ServerResponse } from 'node:http';
import { asAosError, type Logger, Mailbox } from '../../core/index.ts';
import type { UnitEvent, UnitEvents } from '../model/unit-events.ts';

const HEARTBEAT_MS = 15_000;
/** A reader that is behind by more than this is cut off; it looks at the unit anew when it comes again. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** News that wait until it is known whether the reader may see them. */
const MAX_WAITING = 10_000;

export interface Selection {
  /** News of this unit only. */
  readonly systemId?: string;
  /** Whether the reader sees a unit; absent: all that there are. */
  readonly sees?: (systemId: string) => Promise<boolean>;
}

/** Sends the news of one unit, or of all that the reader sees, until the reader goes away. */
export function streamEvents(response: ServerResponse, events: UnitEvents, logger: Logger, selection: Selection): void {
  // The reader may have gone while it was found out who it is: nobody would end what begins here.
  if (response.destroyed) return;
  const { systemId, sees } = selection;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': these are the news\n\n');
  const send = (news: UnitEvent) => {
    response.write(`event: ${news.event}\ndata: ${JSON.stringify(dataOf(news, systemId))}\n\n`);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  };
  const waiting = new Mailbox<UnitEvent>(MAX_WAITING);
  const unsubscribe = events.follow((news) => {
    if (systemId !== undefined && news.systemId !== systemId) return;
    if (!sees) send(news);
    else if (waiting.size < MAX_WAITING) waiting.push(news);
    else response.destroy();
  });
  const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
  response.on('close', () => {
    clearInterval(heartbeat);
    unsubscribe();
    waiting.close();
  });
  if (!sees) return;
  const sendSeen = async () => {
    for await (const news of waiting) if (await sees(news.systemId)) send(news);
  };
  sendSeen().catch((error) => {
    logger.warn({ error: asAosError(error).message }, 'news could not be sent; the reader is cut off');
    response.destroy();
  });
}

function dataOf(news: { readonly systemId: string; readonly at: string; readonly data: object }, systemId?: string) {
  return { at: news.at, ...(systemId === undefined && { systemId: news.systemId }), ...news.data };
}

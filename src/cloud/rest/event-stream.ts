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
  /** Whether the reader is still who it was when it asked, and may see this; it is looked at again and again. */
  readonly isStill: () => Promise<boolean>;
  readonly heartbeatMs?: number;
}

/** Sends the news of one unit, or of all that the reader sees, until the reader goes away or is nobody any more. */
export function streamEvents(response: ServerResponse, events: UnitEvents, logger: Logger, selection: Selection): void {
  // The reader may have gone while it was found out who it is: nobody would end what begins here.
  if (response.destroyed) return;
  const { systemId, sees, isStill, heartbeatMs = HEARTBEAT_MS } = selection;
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
  const beat = async () => {
    if (await isStill()) response.write(': still here\n\n');
    else response.end();
  };
  const heartbeat = setInterval(() => {
    beat().catch((error) =>
      logger.warn(
        { error: asAosError(error).message },
        'it could not be found out whether a reader may still have news',
      ),
    );
  }, heartbeatMs);
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

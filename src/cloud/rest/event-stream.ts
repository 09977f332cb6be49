/** News as server-sent events. */
import type { ServerResponse } from 'node:http';
import { asAosError, type Logger, Mailbox } from '../../core/index.ts';
import type { AccessChanges } from '../access/access-changes.ts';
import type { Caller } from '../access/roles.ts';
import type { UnitEvent, UnitEvents } from '../model/unit-events.ts';

const HEARTBEAT_MS = 15_000;
/** A reader that is behind by more than this is cut off; it looks at the unit anew when it comes again. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** News that wait until it is known whether the reader may see them. */
const MAX_WAITING = 10_000;

export interface News {
  readonly events: UnitEvents;
  readonly access: AccessChanges;
  readonly logger: Logger;
  readonly now: () => Date;
}

export interface Selection {
  /** News of this unit only. */
  readonly systemId?: string;
  /** Whether the reader sees a unit; absent: all that there are. */
  readonly sees?: (systemId: string) => Promise<boolean>;
  /** Whether the reader is still who it was when it asked, and may see this; it is looked at when that may have changed. */
  readonly isStill: () => Promise<boolean>;
  /** When the reader is nobody any more, in any case. */
  readonly endsAt?: Date;
  readonly heartbeatMs?: number;
}

/** For a selection: until when somebody may follow. */
export const endOf = ({ expiresAt }: Caller): Pick<Selection, 'endsAt'> =>
  expiresAt === undefined ? {} : { endsAt: new Date(expiresAt) };

/** Sends the news of one unit, or of all that the reader sees, until the reader goes away or is nobody any more. */
export function streamEvents(response: ServerResponse, news: News, selection: Selection): void {
  // The reader may have gone while it was found out who it is: nobody would end what begins here.
  if (response.destroyed) return;
  const { events, access, logger, now } = news;
  const { systemId, sees, isStill, endsAt, heartbeatMs = HEARTBEAT_MS } = selection;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': these are the news\n\n');
  const send = (event: UnitEvent) => {
    if (response.writableEnded) return;
    response.write(`event: ${event.event}\ndata: ${JSON.stringify(dataOf(event, systemId))}\n\n`);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  };
  const waiting = new Mailbox<UnitEvent>(MAX_WAITING);
  const unsubscribe = events.follow((event) => {
    if (systemId !== undefined && event.systemId !== systemId) return;
    if (!sees) send(event);
    else if (waiting.size < MAX_WAITING) waiting.push(event);
    else response.destroy();
  });
  const standing = new Standing(isStill, () => response.end(), logger);
  const unfollow = access.follow(() => standing.look());
  // It may have changed while it was found out who the reader is.
  standing.look();
  const heartbeat = setInterval(() => {
    if (response.writableEnded) return;
    if (endsAt !== undefined && endsAt <= now()) response.end();
    else response.write(': still here\n\n');
    if (!standing.isKnown) standing.look();
  }, heartbeatMs);
  response.on('close', () => {
    clearInterval(heartbeat);
    unsubscribe();
    unfollow();
    waiting.close();
  });
  if (!sees) return;
  const sendSeen = async () => {
    for await (const event of waiting) if (await sees(event.systemId)) send(event);
  };
  sendSeen().catch((error) => {
    logger.warn({ error: asAosError(error).message }, 'news could not be sent; the reader is cut off');
    response.destroy();
  });
}

/** Whether somebody is still who it was: found out when that may have changed, and at no other time. */
class Standing {
  readonly #isStill: () => Promise<boolean>;
  readonly #onEnd: () => void;
  readonly #logger: Logger;
  #isKnown = false;
  #isLooking = false;

  constructor(isStill: () => Promise<boolean>, onEnd: () => void, logger: Logger) {
    this.#isStill = isStill;
    this.#onEnd = onEnd;
    this.#logger = logger;
  }

  /** False when it could not be found out, or is being asked again. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Soon; news that come meanwhile are looked at together. */
  look(): void {
    this.#isKnown = false;
    if (!this.#isLooking) void this.#lookNow();
  }

  async #lookNow(): Promise<void> {
    this.#isLooking = true;
    try {
      while (!this.#isKnown) {
        this.#isKnown = true;
        if (!(await this.#isStill())) this.#onEnd();
      }
    } catch (error) {
      this.#isKnown = false;
      this.#logger.warn(
        { error: asAosError(error).message },
        'it could not be found out whether a reader may still have news',
      );
    } finally {
      this.#isLooking = false;
    }
  }
}

function dataOf(news: { readonly systemId: string; readonly at: string; readonly data: object }, systemId?: string) {
  return { at: news.at, ...(systemId === undefined && { systemId: news.systemId }), ...news.data };
}

import { expect, test } from 'vitest';
import type { ServerEvent } from './cloud-client.ts';
import type { Context } from './context.ts';
import { moments, untilEnd } from './moments.ts';

/** A cloud that tells what it is told to, and a terminal that looks. */
class Stage {
  readonly ctrlC = new AbortController();
  readonly story: string[] = [];
  readonly context: Context;
  /** What the cloud tells; `break` is a connection that breaks. Afterwards it stays quiet, or ends the stream. */
  constructor(told: readonly string[], isEndedByCloud = false) {
    const { story } = this;
    const events = async function* (path: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
      story.push(`opens ${path}`);
      signal.addEventListener('abort', () => story.push('closed'));
      for (const event of told) {
        if (event === 'break') throw new Error('the connection broke');
        yield { event, data: '' } as ServerEvent;
      }
      if (isEndedByCloud || signal.aborted) return;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    this.context = { cloud: { url: 'https://cloud', events }, signal: this.ctrlC.signal } as unknown as Context;
  }

  /** Looks until it has looked so often, then does what is said. */
  async look(event: string | undefined, times = Number.POSITIVE_INFINITY, then = () => this.ctrlC.abort()) {
    let looks = 0;
    for await (const _ of moments(this.context, { path: '/news', ...(event !== undefined && { event }) })) {
      looks += 1;
      this.story.push('looks');
      if (looks === times) then();
    }
  }
}

test('[P-02] news are listened to before the first look, so that none is missed', async () => {
  const stage = new Stage([]);
  await stage.look(undefined, 1);
  expect(stage.story).toEqual(['opens /news', 'looks', 'closed']);
});

test('[P-02] each piece of news is one more look; of a named kind only that', async () => {
  const any = new Stage(['alerts', 'monitoring']);
  await any.look(undefined, 3);
  expect(any.story.filter((what) => what === 'looks')).toHaveLength(3);
  const named = new Stage(['alerts', 'monitoring', 'alerts']);
  await named.look('monitoring', 2);
  expect(named.story.filter((what) => what === 'looks')).toHaveLength(2);
});

test('[P-02] a cloud that ends the news is said, with what to do; Ctrl-C ends in order', async () => {
  await expect(new Stage(['alerts'], true).look(undefined)).rejects.toMatchObject({
    message: 'https://cloud ended the news; start the command again',
    fields: { unreachable: true },
  });
  await expect(new Stage([]).look(undefined, 1)).resolves.toBeUndefined();
});

test('[P-02] whoever has seen enough ends the request', async () => {
  const stage = new Stage([]);
  for await (const _ of moments(stage.context, { path: '/news' })) break;
  expect(stage.story.at(-1)).toBe('closed');
});

test('[P-02] a look that fails is what is told, even when the news break off meanwhile', async () => {
  const stage = new Stage(['break']);
  const look = stage.look(undefined, 1, () => {
    throw new Error('the look failed');
  });
  await expect(look).rejects.toThrow('the look failed');
  await expect(new Stage(['break']).look(undefined)).rejects.toThrow('the connection broke');
});

test('[P-02] looking at a daemon of this node again goes on until the end, and ends at once then', async () => {
  const end = new AbortController();
  let looks = 0;
  for await (const _ of untilEnd(end.signal, 1)) {
    looks += 1;
    if (looks === 3) end.abort();
  }
  expect(looks).toBe(3);
});

/** Answers that are shown again when they have changed: `--watch`. */
import type { Command } from 'commander';
import { systemClock } from '../core/index.ts';
import type { Context } from './context.ts';
import type { Output } from './output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

/** How often a daemon of this node is asked. */
const PERIOD_MS = 1_000;
const CLEAR_SCREEN = '\u001b[2J\u001b[H';

/** Keeps what is printed. */
class Page implements Output {
  readonly json: boolean;
  readonly note: Output['note'];
  #text = '';

  constructor({ json, note }: Output) {
    this.json = json;
    this.note = note;
  }

  get text(): string {
    return this.#text;
  }

  line(text: string): void {
    this.#text += this.#text === '' ? text : `\n${text}`;
  }
}

/**
 * Gives a command the option `--watch`. `show` asks and prints once. Watched, people see the newest answer on a cleared
 * screen, programs one JSON value a line; both only when it has changed.
 */
export function watchable(command: Command, run: Run, show: (context: Context) => Promise<void>): Command {
  return command
    .option('-w, --watch', 'show it again whenever it changes; ends with Ctrl-C')
    .action((options: { readonly watch?: boolean }) =>
      run((context) => (options.watch ? watch(context, show) : show(context))),
    );
}

async function watch(context: Context, show: (context: Context) => Promise<void>): Promise<void> {
  let shown: string | undefined;
  for await (const _ of moments(context)) {
    const page = new Page(context.output);
    await show(context.with({ output: page }));
    if (page.text === shown) continue;
    shown = page.text;
    const isScreen = !page.json && process.stdout.isTTY;
    context.output.line(page.json ? JSON.stringify(JSON.parse(shown)) : `${isScreen ? CLEAR_SCREEN : ''}${shown}`);
  }
}

/** When to look: a cloud tells of news, a daemon of this node is asked now and then. */
async function* moments(context: Context): AsyncGenerator<void> {
  yield;
  if (context.namesUnit) {
    const events = context.cloud.events(`/api/units/${encodeURIComponent(context.unit)}/events`, context.signal);
    for await (const _ of events) yield;
    return;
  }
  while (!context.signal.aborted) {
    // Ctrl-C ends the wait, which the loop sees.
    await systemClock.sleep(PERIOD_MS, context.signal).catch(() => undefined);
    if (!context.signal.aborted) yield;
  }
}

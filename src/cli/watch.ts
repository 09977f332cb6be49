/** Answers that are shown again when they have changed: `--watch`. */
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { moments, type News, unitNews } from './moments.ts';
import type { Output, Style } from './output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

/** Keeps what is printed. */
class Page implements Output {
  readonly json: boolean;
  readonly style: Style;
  readonly note: Output['note'];
  readonly progress: Output['progress'];
  readonly #output: Output;
  #text = '';

  constructor(output: Output) {
    this.#output = output;
    this.json = output.json;
    this.style = output.style;
    this.note = (text) => output.note(text);
    this.progress = (text) => output.progress(text);
  }

  get text(): string {
    return this.#text;
  }

  get width(): number | undefined {
    return this.#output.width;
  }

  line(text: string): void {
    this.#text += this.#text === '' ? text : `\n${text}`;
  }

  page(text: string): void {
    this.line(text);
  }
}

/** What commander gives an action: the arguments of the command, its options, the command itself. */
type Given = [...args: string[], options: { readonly watch?: boolean }, command: Command];

/**
 * Gives a command the option `--watch`. `show` asks and prints once, and has the arguments of the command. Watched, people see the newest answer on a cleared
 * screen, programs one JSON value a line; both only when it has changed.
 */
export function watchable(
  command: Command,
  run: Run,
  show: (context: Context, ...args: string[]) => Promise<void>,
  newsOf: NewsOf = (context) => (context.namesUnit ? unitNews(context) : undefined),
): Command {
  return command
    .option('-w, --watch', 'show it again whenever it changes; ends with Ctrl-C')
    .action((...given: unknown[]) => {
      const args = (given as Given).slice(0, -2) as string[];
      const { watch: isWatched } = (given as Given).at(-2) as { readonly watch?: boolean };
      const showThem = (context: Context) => show(context, ...args);
      return run((context) => (isWatched ? watch(context, showThem, newsOf(context)) : showThem(context)));
    });
}

/** Undefined: the answer is of a daemon of this node. */
export type NewsOf = (context: Context) => News | undefined;

async function watch(
  context: Context,
  show: (context: Context) => Promise<void>,
  news: News | undefined,
): Promise<void> {
  const { output } = context;
  let shown: string | undefined;
  for await (const _ of moments(context, news)) {
    const page = new Page(output);
    await show(context.with({ output: page }));
    if (page.text === shown) continue;
    shown = page.text;
    output.page(page.json ? JSON.stringify(JSON.parse(shown)) : shown);
  }
}

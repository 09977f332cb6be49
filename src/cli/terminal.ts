/** Where answers go: a terminal with colours, a width and a line of progress, or a pipe with plain text (spec/beyond.md P-02, P-15). */
import { type Output, PLAIN, type Style } from './output.ts';
import { readable } from './readable.ts';

/** As much of a stream as is needed here. */
export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface TerminalOptions {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly json: boolean;
}

const CLEAR_SCREEN = '\u001b[2J\u001b[H';
const CLEAR_LINE = '\r\u001b[K';

const sgr = (on: number, off: number) => (text: string) => `\u001b[${on}m${text}\u001b[${off}m`;
const COLOURED: Style = {
  strong: sgr(1, 22),
  faint: sgr(2, 22),
  good: sgr(32, 39),
  warning: sgr(33, 39),
  bad: sgr(31, 39),
};

/** https://no-color.org: any value but an empty one counts. */
const wantsColour = (env: TerminalOptions['env']): boolean => !env.NO_COLOR && env.TERM !== 'dumb';

export class Terminal implements Output {
  readonly json: boolean;
  readonly style: Style;
  readonly #options: TerminalOptions;
  readonly #hasProgress: boolean;
  #isProgressShown = false;

  constructor(options: TerminalOptions) {
    const { stdout, stderr, env, json } = options;
    this.#options = options;
    this.json = json;
    this.style = stdout.isTTY === true && !json && wantsColour(env) ? COLOURED : PLAIN.style;
    this.#hasProgress = stderr.isTTY === true && env.TERM !== 'dumb';
  }

  /** Asked each time: windows change their size. */
  get width(): number | undefined {
    const { stdout } = this.#options;
    // Some terminals do not know their size, and say 0.
    return stdout.isTTY === true && !this.json ? stdout.columns || undefined : undefined;
  }

  line(text: string): void {
    this.#endProgress();
    this.#write(this.#options.stdout, text);
  }

  page(text: string): void {
    this.#endProgress();
    const isScreen = this.#options.stdout.isTTY === true && !this.json;
    if (isScreen) this.#options.stdout.write(CLEAR_SCREEN);
    this.#write(this.#options.stdout, text);
  }

  note(text: string): void {
    this.#endProgress();
    this.#write(this.#options.stderr, text);
  }

  progress(text: string): void {
    if (!this.#hasProgress) return;
    const { columns = 80 } = this.#options.stderr;
    this.#options.stderr.write(`${CLEAR_LINE}${readable(text, true).slice(0, Math.max(1, columns - 1))}`);
    this.#isProgressShown = true;
  }

  /** What was in progress is over: its line goes. */
  close(): void {
    this.#endProgress();
  }

  /** Names, messages and reasons are of units and others: whatever is shown may hold what moves the cursor. */
  #write(stream: Stream, text: string): void {
    stream.write(`${readable(text, stream.isTTY === true)}\n`);
  }

  #endProgress(): void {
    if (!this.#isProgressShown) return;
    this.#isProgressShown = false;
    this.#options.stderr.write(CLEAR_LINE);
  }
}

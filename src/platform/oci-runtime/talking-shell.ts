/**
 * Starts programs that leave themselves in the background and answer one line from there, as conmon does.
 *
 * A shell starts one after the other by itself, without a fork of its own, and each gets a pipe of that shell to answer
 * on; so the next one is started while the former is still at work in the background.
 */
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { AosError, throwIfCanceled } from '../../core/index.ts';
import { identifyProcess } from '../proc/index.ts';
import {
  endedEarly,
  FIRST_PIPE,
  HelperShell,
  type HelperShellOptions,
  type JobOptions,
  quoteWord,
} from '../program/index.ts';
import { AnswerPipe } from './answer-pipe.ts';

/** Those that a shell can name, as it does so by one digit. */
const DESCRIPTORS = Array.from({ length: 10 - FIRST_PIPE }, (_, index) => FIRST_PIPE + index);
/** Between two looks whether a program that has not answered yet still runs. */
const LOOK_MS = 1_000;

export interface Conversation {
  /** Who is told to have taken too long. */
  readonly what: string;
  /** Where the program stands. */
  readonly directory: string;
  /** Tells it the descriptor to answer on. */
  readonly variable: string;
  /** Gets what it complains about. */
  readonly complaints: string;
  /** Where it leaves its number when it goes on in the background. */
  readonly pidFile: string;
}

export class TalkingShell {
  readonly #shell: HelperShell;
  /** Of the present shell, those on which nobody is to answer. */
  #free: AnswerPipe[] = [];
  /** All of the present shell. */
  #present: readonly AnswerPipe[] = [];
  #waiting: (() => void)[] = [];

  constructor(options: Omit<HelperShellOptions, 'pipes'>) {
    const onOpen = (ends: readonly Duplex[]) => {
      this.#present = ends.map((end, index) => new AnswerPipe(FIRST_PIPE + index, end));
      this.#free = [...this.#present];
    };
    this.#shell = new HelperShell({ ...options, pipes: { count: DESCRIPTORS.length, onOpen } });
  }

  /**
   * The line that the program answers; it may go on without us. Empty when it ended without one. Throws `timeout`,
   * `canceled`, `runtime` when the shell is lost before it has started the program.
   */
  async converse(
    words: readonly string[],
    { signal, timeoutMs, what, ...place }: JobOptions & Conversation,
  ): Promise<string> {
    const pipe = await this.#take(signal);
    const turn = new AbortController();
    const over = new AbortController();
    const given = Promise.withResolvers<never>();
    const startedMs = performance.now();
    const onAbort = () => given.reject(endedEarly(what, signal, startedMs));
    const tooLong = new AosError('timeout', `${what} did not end within ${timeoutMs} ms`);
    const timer = setTimeout(() => given.reject(tooLong), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    // Its own bound is never the first to be reached: this one knows whom to name.
    const options = { signal: turn.signal, timeoutMs: 2 * timeoutMs, ...surroundings(pipe, place) };
    const started = this.#shell.runInTurn(words, options);
    const silence = untilSilent(started, place.pidFile, over.signal);
    // Who loses the race has nobody to tell.
    silence.catch(() => undefined);
    try {
      const answer = await Promise.race([pipe.line(), silence, given.promise]);
      this.#giveBack(pipe);
      return answer;
    } catch (error) {
      // Its answer may still come: nobody else is to take it for his own.
      this.#replace(pipe);
      turn.abort(error);
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      pipe.rest();
      over.abort();
    }
  }

  close(): Promise<void> {
    return this.#shell.close();
  }

  async #take(signal: AbortSignal): Promise<AnswerPipe> {
    for (;;) {
      throwIfCanceled(signal);
      this.#shell.open();
      const pipe = this.#free.pop();
      if (pipe) return pipe;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  #giveBack(pipe: AnswerPipe): void {
    if (this.#present.includes(pipe)) this.#free.push(pipe);
    this.#wake();
  }

  #replace(pipe: AnswerPipe): void {
    if (!this.#present.includes(pipe)) return;
    this.#shell.replace();
    this.#present = [];
    this.#free = [];
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** No other pipe is left to the program: it would hold it for as long as it lives. */
function surroundings(pipe: AnswerPipe, { directory, variable, complaints }: Omit<Conversation, 'what'>) {
  const others = DESCRIPTORS.filter((descriptor) => descriptor !== pipe.descriptor).map((other) => `${other}>&-`);
  return {
    before: `cd ${quoteWord(directory)} && ${variable}=${pipe.descriptor}`,
    redirections: `${others.join(' ')} >/dev/null 2>${quoteWord(complaints)} </dev/null`,
    // Where it stands nothing could be unmounted.
    after: 'cd /',
  };
}

/** Empty when the program has ended, in the foreground or later, and had its time to be heard. */
async function untilSilent(started: Promise<number>, pidFile: string, over: AbortSignal): Promise<string> {
  let isAlive = (await started) === 0;
  while (isAlive) {
    isAlive = runs(pidFile);
    if (isAlive) await sleep(LOOK_MS, undefined, { signal: over });
  }
  // The first one comes before the pipes are looked at again, where we were told by one of them.
  await setImmediate();
  await setImmediate();
  return '';
}

function runs(pidFile: string): boolean {
  try {
    return identifyProcess(Number(readFileSync(pidFile, 'utf8').trim())) !== undefined;
  } catch {
    // It did not go on in the background, or has been removed with everything of it.
    return false;
  }
}

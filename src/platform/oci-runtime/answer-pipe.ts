/** Our end of a pipe of a shell, on which one program after the other answers a line. */
import type { Duplex } from 'node:stream';

const MAX_ANSWER_CHARACTERS = 3_500;

export class AnswerPipe {
  /** By which the shell and its programs know it. */
  readonly descriptor: number;
  readonly #end: Duplex & { ref?(): void; unref?(): void };
  #text = '';
  #heard: ((line: string) => void) | undefined;

  constructor(descriptor: number, end: Duplex) {
    this.descriptor = descriptor;
    this.#end = end;
    end.setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    // Nobody is left who could say anything: whoever waits sees that his program has ended.
    end.on('error', () => undefined);
    this.rest();
  }

  /** What is said first from now on. */
  line(): Promise<string> {
    this.#text = '';
    this.#end.ref?.();
    return new Promise((resolve) => {
      this.#heard = resolve;
    });
  }

  /** Nobody waits for a line: the pipe does not keep our process from ending. */
  rest(): void {
    this.#heard = undefined;
    this.#end.unref?.();
  }

  #hear(text: string): void {
    if (!this.#heard) return;
    this.#text = (this.#text + text).slice(0, MAX_ANSWER_CHARACTERS);
    const end = this.#text.indexOf('\n');
    if (end >= 0 || this.#text.length === MAX_ANSWER_CHARACTERS)
      this.#heard(this.#text.slice(0, Math.max(end, 0)) || this.#text);
  }
}

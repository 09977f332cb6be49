/** Sends what has gathered: a period after the first news, at once when the link opens, never without news. */
export class BatchTimer {
  readonly #periodMs: number;
  readonly #send: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(periodMs: number, send: () => void) {
    this.#periodMs = periodMs;
    this.#send = send;
  }

  /** There is news. */
  arm(): void {
    this.#timer ??= setTimeout(() => this.fire(), this.#periodMs);
  }

  fire(): void {
    this.stop();
    this.#send();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** Streams of clients that are ended in order when the server changes its certificate or stops. */
export class StreamGroup {
  #current = new AbortController();

  /** Aborts when the streams that are open now shall end. */
  get signal(): AbortSignal {
    return this.#current.signal;
  }

  /** Streams opened from now on belong to a new generation; answers what ends those before. */
  renew(): () => void {
    const old = this.#current;
    this.#current = new AbortController();
    return () => old.abort();
  }

  /** Ends all streams. */
  end(): void {
    this.renew()();
  }
}

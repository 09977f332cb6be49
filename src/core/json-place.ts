/** Where in the text of a JSON document a value stands, for errors that people must act on. */

/** One step down: the key of an object, without regard to case, or the index of an array. */
type Step = string | number;

/**
 * The line, from 1, on which the value of a field begins: `runtimes[0].config.crunExecutable`. The deepest part of the
 * field that is there counts, so that a missing key is shown where it is missed. The text must be valid JSON.
 */
export function lineOfField(text: string, field: string): number {
  const steps = [...field.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, key, index]): Step => key ?? Number(index));
  const offset = new Finder(text).find(steps);
  return text.slice(0, offset).split('\n').length;
}

/** Reads just as much as it must to know where values begin and end. */
class Finder {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Offset of the deepest value on the way. */
  find(steps: readonly Step[]): number {
    this.#space();
    const here = this.#at;
    const [step, ...rest] = steps;
    const open = this.#text[here];
    if (step === undefined || (open !== '{' && open !== '[')) return here;
    this.#at += 1;
    for (let index = 0; ; index += 1) {
      this.#space();
      if (this.#text[this.#at] === '}' || this.#text[this.#at] === ']') return here;
      const isMeant = open === '[' ? index === step : this.#key().toLowerCase() === String(step).toLowerCase();
      if (isMeant) return this.find(rest);
      this.#skipValue();
      this.#space();
      if (this.#text[this.#at] !== ',') return here;
      this.#at += 1;
    }
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at += 1;
  }

  /** A key, up to behind its colon. */
  #key(): string {
    const from = this.#at;
    this.#skipString();
    const key = JSON.parse(this.#text.slice(from, this.#at)) as string;
    this.#space();
    this.#at += 1;
    return key;
  }

  #skipString(): void {
    this.#at += 1;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"')
      this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    this.#at += 1;
  }

  #skipValue(): void {
    let depth = 0;
    do {
      this.#space();
      const next = this.#text[this.#at];
      if (next === undefined) return;
      if (next === '"') this.#skipString();
      else if (next === '{' || next === '[') {
        depth += 1;
        this.#at += 1;
      } else if (next === '}' || next === ']') {
        depth -= 1;
        this.#at += 1;
      } else if (next === ',' || next === ':') this.#at += 1;
      else while (/[^\s,:[\]{}"]/.test(this.#text[this.#at] ?? '')) this.#at += 1;
    } while (depth > 0);
  }
}

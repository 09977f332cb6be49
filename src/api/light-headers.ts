/**
 * `Headers` of the bundled programs. That of Node.js is part of its whole HTTP client for browsers' `fetch`, which nothing
 * here uses: loading it takes 20 ms of each start and 3 MB of each daemon, and each call would pay for its checks.
 * Nothing imports this; the build puts it in the place of the global (scripts/build.ts).
 */
type Init = LightHeaders | Iterable<readonly [string, string]> | Readonly<Record<string, string>>;

/** Names and values as fetch.spec.whatwg.org has them, but for forbidden characters: `node:http2` refuses those itself. */
class LightHeaders {
  readonly #values = new Map<string, string[]>();

  constructor(init?: Init | null) {
    if (!init) return;
    if (init instanceof LightHeaders) for (const [name, values] of init.#values) this.#values.set(name, [...values]);
    else for (const [name, value] of Symbol.iterator in init ? init : Object.entries(init)) this.append(name, value);
  }

  append(name: string, value: string): void {
    const key = String(name).toLowerCase();
    const values = this.#values.get(key);
    if (values) values.push(normal(value));
    else this.#values.set(key, [normal(value)]);
  }

  set(name: string, value: string): void {
    this.#values.set(String(name).toLowerCase(), [normal(value)]);
  }

  delete(name: string): void {
    this.#values.delete(String(name).toLowerCase());
  }

  has(name: string): boolean {
    return this.#values.has(String(name).toLowerCase());
  }

  get(name: string): string | null {
    return this.#values.get(String(name).toLowerCase())?.join(', ') ?? null;
  }

  getSetCookie(): string[] {
    return [...(this.#values.get('set-cookie') ?? [])];
  }

  forEach(look: (value: string, name: string, headers: LightHeaders) => void, self?: unknown): void {
    for (const [name, value] of this) look.call(self, value, name, this);
  }

  *entries(): IterableIterator<[string, string]> {
    for (const name of [...this.#values.keys()].sort()) {
      const values = this.#values.get(name) ?? [];
      // Cookies must not be joined: they may contain commas.
      if (name === 'set-cookie') for (const value of values) yield [name, value];
      else yield [name, values.join(', ')];
    }
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this) yield value;
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }
}

/** Without white space around it. */
function normal(value: string): string {
  return String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
}

export { LightHeaders as Headers };

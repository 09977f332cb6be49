/** What the system calls an error, for somebody who has not called it. Pure. */

/** `ENOENT: no such file or directory, open '/x'`, as Node.js writes it. */
const SYSTEM_WORDS = /\bE[A-Z0-9]+: ([a-z][^,']*), [a-z_]+(?: '([^']*)')?(?: -> '[^']*')?/g;

/** What is said of everything that ends with an abort signal, which is Ctrl-C here. */
const ABORTED = /\b(This|The) operation was aborted\b/g;

/** The same with the words alone, and the path where it has not been named before. */
export function plainWords(message: string): string {
  const told = message.replaceAll(SYSTEM_WORDS, (_, words: string, path: string | undefined, at: number) =>
    path === undefined || message.slice(0, at).includes(path) ? words : `${path}: ${words}`,
  );
  return told.replaceAll(ABORTED, 'it was ended before it was done');
}

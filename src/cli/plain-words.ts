/** What the system calls an error, for somebody who has not called it. Pure. */

/** `ENOENT: no such file or directory, open '/x'`, as Node.js writes it. */
const SYSTEM_WORDS = /\bE[A-Z0-9]+: ([a-z][^,']*), [a-z_]+(?: '([^']*)')?(?: -> '[^']*')?/g;

/** The same with the words alone, and the path where it has not been named before. */
export function plainWords(message: string): string {
  return message.replaceAll(SYSTEM_WORDS, (_, words: string, path: string | undefined, at: number) =>
    path === undefined || message.slice(0, at).includes(path) ? words : `${path}: ${words}`,
  );
}

/** The SQL of the stores as PostgreSQL reads it. Pure. */

/**
 * Words, in this order: a literal, a name that is quoted already, a comment, a placeholder, a name in camelCase. What the
 * stores write in capitals, or all small, is the same in both.
 */
const WORDS = /'(?:[^']|'')*'|"[^"]*"|--[^\n]*|\?|\b[a-z][a-z0-9_]*[A-Z]\w*\b/g;

/**
 * Placeholders are numbered, and names in camelCase quoted: PostgreSQL would make them small, and answer rows whose
 * members nobody knows.
 */
export function toPostgres(sql: string): string {
  let count = 0;
  return sql.replace(WORDS, (word) => {
    if (word === '?') {
      count += 1;
      return `$${count}`;
    }
    return /^['"-]/.test(word) ? word : `"${word}"`;
  });
}

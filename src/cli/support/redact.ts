/** Takes secrets out of what leaves the node in a support bundle (spec/beyond.md P-09). Pure. */

const REMOVED = '(removed)';

/** Names of settings whose value is a secret itself, not the path of a file that holds one. */
const SECRET_NAME =
  /(^|[^a-z])(pin|so-?pin|password|passwd|secret|token|api-?key|private-?key|authorization|credentials?)$/i;
/** Camel case as words: `userPin` is `user-Pin`. */
const wordsOf = (name: string) => name.replace(/([a-z])([A-Z])/g, '$1-$2');

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?(-----END \1-----|$)/g, `${REMOVED} private key`],
  [/\b(pin-value=)[^&;\s"']+/gi, `$1${REMOVED}`],
  [/\b(Bearer|Basic) +[\w.~+/=-]+/gi, `$1 ${REMOVED}`],
  [/\b(AOS_SECRET)=[^\s"',]+/g, `$1=${REMOVED}`],
  [/(\/\/[^/\s:@]+:)[^@/\s]+@/g, `$1${REMOVED}@`],
];

/** A text without known secrets, PEM keys, PINs in URLs and credentials in headers. */
export function redactText(text: string, secrets: readonly string[] = []): string {
  const known = secrets.filter((secret) => secret.length > 0).sort((a, b) => b.length - a.length);
  const without = known.reduce((rest, secret) => rest.split(secret).join(REMOVED), text);
  return PATTERNS.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), without);
}

/** A JSON value without the values of settings that are secrets, and without environments of instances. */
export function redactValue(value: unknown, secrets: readonly string[] = []): unknown {
  if (typeof value === 'string') return redactText(value, secrets);
  if (Array.isArray(value)) return value.map((entry) => redactValue(entry, secrets));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => {
      const isSecret = SECRET_NAME.test(wordsOf(key)) || /^(env|environment|envVars)$/i.test(key);
      return [key, isSecret && entry !== null && entry !== '' ? REMOVED : redactValue(entry, secrets)];
    }),
  );
}

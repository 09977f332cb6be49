/** HTML as values: whatever stands in a template is text, unless it is HTML itself. */

export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Part = Html | string | number | boolean | undefined | null | readonly Part[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Characters that turn the direction of the text around them, and those that nobody sees: in a name from outside they
 * would make one unit look like another.
 */
const DECEIVING = /(?![\n\t])[\p{Cc}\p{Cf}]/gu;

export function escapeHtml(text: string): string {
  return text.replace(DECEIVING, '\ufffd').replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

function render(part: Part): string {
  if (part === undefined || part === null || part === false || part === true) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(render).join('');
  return escapeHtml(String(part));
}

/** A template whose values are escaped; absent ones and booleans are nothing, lists are joined. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.map((text, index) => text + (index < parts.length ? render(parts[index]!) : '')).join(''));
}

/** A path of parts from outside. */
export function path(strings: TemplateStringsArray, ...parts: readonly (string | number)[]): string {
  return strings
    .map((text, index) => text + (index < parts.length ? encodeURIComponent(String(parts[index])) : ''))
    .join('');
}

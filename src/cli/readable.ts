/** Text of strangers on a terminal: nothing in it may move the cursor, rename the window or ring. Colours may stay. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const COLOURS_OR_CONTROLS = /(\u001b\[[\d;]*m)|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Control characters but tabs and colours become visible marks, as `cat -v` writes them, and so do those that turn the
 * direction of the text around them. Pipes get the text as it is.
 */
export function readable(text: string, isTerminal = process.stdout.isTTY === true): string {
  if (!isTerminal) return text;
  return text.replaceAll(COLOURS_OR_CONTROLS, (found, colour: string | undefined) => colour ?? mark(found));
}

function mark(control: string): string {
  const code = control.charCodeAt(0);
  if (code > 0xff) return `<U+${code.toString(16).toUpperCase()}>`;
  return code >= 0x7f ? `\\x${code.toString(16)}` : `^${String.fromCharCode(code + 64)}`;
}

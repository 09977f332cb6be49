/** Names of a tar as the system takes them: bytes. */

/** A path of one character for each byte, below a directory if one is given; a text when it is plain ASCII. */
export function rawPath(path: string, below?: string): string | Buffer {
  const whole = below === undefined ? path : path === '' ? below : `${below}/${path}`;
  if (isAscii(path)) return whole;
  if (below === undefined) return Buffer.from(path, 'latin1');
  return Buffer.concat([Buffer.from(`${below}/`), Buffer.from(path, 'latin1')]);
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

/** Amounts and command lines in the words of authors. Pure. */
import { AosError } from '../../../core/index.ts';

const SIZE = /^(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?$/i;
const SPEED = /^(\d+(?:\.\d+)?)\s*([kmg]?)(b?)$/i;
const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3 };

/** Bytes of `512`, `64kB`, `1.5 GB`; k is 1024, as in every limit of memory. Throws `invalidArgument`. */
export function parseSize(value: string | number, what: string): number {
  const match = SIZE.exec(String(value).trim());
  if (!match) throw new AosError('invalidArgument', `${what}: expected a size such as 64MB, found "${value}"`);
  return Math.ceil(Number(match[1]) * 1024 ** POWERS[match[2]!.toLowerCase()]!);
}

/**
 * Kilobits (1000 bit) per second of `32Kb` (bits), `4KB` (bytes) or a bare number of bytes, as older files have them
 * (spec/decisions.md C-44); rounded up. Throws `invalidArgument`.
 */
export function parseSpeed(value: string | number, what: string): number {
  const match = SPEED.exec(String(value).trim());
  if (!match) throw new AosError('invalidArgument', `${what}: expected a speed such as 32Kb, found "${value}"`);
  const bitsPerUnit = match[3] === 'b' ? 1 : 8;
  const bits = Number(match[1]) * 1000 ** POWERS[match[2]!.toLowerCase()]! * bitsPerUnit;
  return Math.ceil(bits / 1000);
}

/** The words of a command line, with quotes and backslashes as a shell has them. Throws `invalidArgument`. */
export function splitCommand(command: string | readonly string[]): string[] {
  if (typeof command !== 'string') return [...command];
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let index = 0; index < command.length; index += 1) {
    const character = command[index]!;
    if (quote !== '') {
      if (character === quote) quote = '';
      else word = (word ?? '') + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (character === '\\') {
      index += 1;
      word = (word ?? '') + (command[index] ?? '');
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote !== '') throw new AosError('invalidArgument', `the command ${command} has a quote that does not end`);
  return word === undefined ? words : [...words, word];
}

/** Programs start with the code that V8 made of them at the build, and without it when it is not theirs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeFlags } from '../devenv/daemon-process.ts';
import { buildProgram } from './build.ts';

const ROOT = join(import.meta.dirname, '..');
const BUILD_MS = 60_000;

let directory: string;
let entry: string;
let program: string;
let cache: string;
let made: Buffer;

beforeAll(async () => {
  const parent = join(ROOT, 'node_modules', '.cache');
  mkdirSync(parent, { recursive: true });
  directory = mkdtempSync(join(parent, 'code-cache-'));
  entry = await buildProgram(ROOT, 'aos-mp', directory);
  program = join(directory, 'aos-mp.js');
  cache = `${program}.cache`;
  made = readFileSync(cache);
}, BUILD_MS);
afterAll(() => rmSync(directory, { recursive: true }));

/** What the program says of its version, and whether anything was said about it. */
function version() {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...nodeFlags(), entry, '--version'], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const GOOD = { status: 0, stdout: '0.1.0\n', stderr: '' };

/** Asks V8. */
const ASK = `
const { readFileSync } = require('node:fs');
const [, program] = process.argv;
const cachedData = readFileSync(program + '.cache').subarray(8);
const { cachedDataRejected } = new (require('node:vm').Script)(readFileSync(program).toString('latin1'), { cachedData });
console.log(cachedDataRejected);
`;

describe('[B-02] the code of a program', () => {
  test.each([
    ['as daemons are started', true],
    ['without any options', false],
  ])('is taken by the Node.js that comes with it, %s', (_, isDaemon) => {
    const words = [...(isDaemon ? nodeFlags() : []), '-e', ASK, program];
    expect(execFileSync(process.execPath, words, { encoding: 'utf8' })).toBe('false\n');
  });

  test(
    '[P-16] built twice, it has the same bytes',
    async () => {
      const again = join(directory, 'again');
      mkdirSync(again);
      await buildProgram(ROOT, 'aos-mp', again);
      expect(readFileSync(join(again, 'aos-mp.js.cache')).equals(made)).toBe(true);
    },
    BUILD_MS,
  );

  test.each(['aos-iam', 'aos-cm', 'aos-sm'] as const)(
    '[P-16] of %s, which the build starts as a device would, has the same bytes each time',
    async (name) => {
      const codes: Buffer[] = [];
      for (const time of ['first', 'second']) {
        const place = join(directory, `${name}-${time}`);
        mkdirSync(place);
        await buildProgram(ROOT, name, place);
        codes.push(readFileSync(join(place, `${name}.js.cache`)));
      }
      expect(codes[0]!.equals(codes[1]!)).toBe(true);
    },
    BUILD_MS,
  );

  describe('is left aside, and the program starts all the same,', () => {
    const middle = () => Math.floor(made.length / 2);
    const flipped = () => {
      const damaged = Buffer.from(made);
      damaged[middle()]! ^= 1;
      return damaged;
    };
    const damages: [string, () => Buffer | undefined][] = [
      ['when it is absent', () => undefined],
      ['when it is empty', () => Buffer.alloc(0)],
      ['when it was cut off', () => made.subarray(0, middle())],
      ['when one bit of it fell over', flipped],
    ];
    test.each(damages)('%s', (_, damage) => {
      const content = damage();
      if (content) writeFileSync(cache, content);
      else rmSync(cache);
      expect(version()).toEqual(GOOD);
      expect(existsSync(cache)).toBe(content !== undefined);
    });

    test('when the program became another of the same length', () => {
      const text = readFileSync(program, 'latin1');
      const other = text.replaceAll('"0.1.0"', '"9.9.9"');
      writeFileSync(cache, made);
      writeFileSync(program, other);
      expect([other.length, version()]).toEqual([text.length, { ...GOOD, stdout: '9.9.9\n' }]);
      writeFileSync(program, text);
    });
  });

  test('is only read: a start writes nothing beside the program', () => {
    writeFileSync(cache, made);
    chmodSync(cache, 0o444);
    expect(version()).toEqual(GOOD);
    expect(readFileSync(cache).equals(made)).toBe(true);
  });
});

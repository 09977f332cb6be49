/**
 * Every command with arguments that are wrong, missing, too many or contradictory: the exit code of a wrong command line, and
 * words that say what was expected.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BadInputStage } from './bad-input-for-tests.ts';
import { asking, commandOf, everyCommand, KIND, line, MINE, ROWS, rows } from './every-command-for-tests.ts';
import { EXIT } from './exit-codes.ts';

let stage: BadInputStage;
beforeAll(async () => {
  stage = await BadInputStage.open();
}, 60_000);
afterAll(() => stage.close());

test('every command of aosctl is in the table', () => {
  expect(rows.map(([name]) => name).sort()).toEqual(everyCommand().sort());
});

describe('arguments', () => {
  test.each(rows.map(([name]) => name))('%s: an option and an argument too many, one too few', async (name) => {
    const strange = await stage.run(line(name, stage.socket(), ['--no-such-option']));
    // What follows the instance is for the command in it.
    if (name !== 'exec')
      expect(strange).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/unknown option/) });
    const { registeredArguments } = commandOf(name);
    if (!registeredArguments.some(({ variadic }) => variadic)) {
      const many = await stage.run(line(name, stage.socket(), Array(registeredArguments.length + 1).fill('more')));
      expect(many).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/too many arguments/) });
    }
    if (registeredArguments.some(({ required }) => required)) {
      const options = ROWS[name]!.args.slice(registeredArguments.filter(({ required }) => required).length);
      const few = await stage.run([
        ...stage.socket(),
        ...name.split(' '),
        ...(options[0]?.startsWith('-') ? options : []),
      ]);
      expect(few).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/missing required argument/) });
    }
    for (const option of commandOf(name).options.filter(({ mandatory }) => mandatory)) {
      const { args } = ROWS[name]!;
      const from = args.indexOf(option.long!);
      const without = args.filter((_, index) => index !== from && index !== from + 1);
      const missing = await stage.run([...stage.socket(), ...name.split(' '), ...without]);
      expect(missing).toMatchObject({
        code: EXIT.usage,
        stderr: expect.stringMatching(new RegExp(`required option.*${option.long}`)),
      });
    }
  });

  test.each(rows.flatMap(([name, { wrong = [] }]) => wrong.map(([more, words]) => [name, more, words] as const)))(
    '%s %j is refused with what was expected',
    async (name, more, words) => {
      const base = ROWS[name]!.asks === 'cloud' ? stage.atCloud() : stage.socket();
      const said = await stage.run(line(name, base, more));
      expect(said.stderr.replaceAll('\n', ' ')).toMatch(words);
      expect([EXIT.usage, EXIT.failed]).toContain(said.code);
      expect(said.stdout).toBe('');
    },
  );

  test.each([
    [['--p12', 'x.p12', ...'--cert a --key b'.split(' ')], /two certificates are named/],
    [['--cloud', 'https://x', '--cert', 'GOOD-CONFIG'], /cannot be read|no key is named|PEM/],
    [['--profile', '/no/such/profile'], /the profile \/no\/such\/profile does not exist/],
    [['--profile', 'NOT-JSON'], /is not JSON/],
    [['--profile', 'EMPTY'], /cannot read the profile .*EMPTY/],
    [['--unit', ''], /--unit is empty: name what is meant, or leave it out/],
    [['--cloud', 'https://[x', ...MINE], /"https:\/\/\[x" is no address of a cloud: expected https:\/\/host:10000/],
    [['--cloud', 'http://x', ...MINE], /"http:\/\/x" is no address of a cloud/],
    [['--cloud', 'x', '--cert', 'NOT-JSON', '--key', 'NOT-JSON'], /NOT-JSON holds no certificate \(PEM\)/],
    [
      ['--cloud', 'x', '--cert', 'expired.pem', '--key', 'NOT-JSON'],
      /expired\.pem with the key .*NOT-JSON cannot be used/,
    ],
    [['--cloud', 'x', '--p12', 'NOT-JSON'], /NOT-JSON cannot be used/],
    [['--cloud', 'x', ...MINE, '--ca', 'NOT-JSON'], /the CA file .*NOT-JSON holds no certificate/],
    [['--cloud', 'x', ...MINE, '--ca', '/no/root.pem'], /cannot read the CA file \/no\/root\.pem/],
  ])('what is said of the cloud: %j', async (options, words) => {
    const said = await stage.run([...options, 'units']);
    expect(said).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(words) });
  });

  test.each(['', 'host:99999', 'https://host', 'two words'])(
    'an address of a unit that is none: "%s"',
    async (address) => {
      const said = await stage.run([...stage.atCloud(), 'provision', address]);
      expect(said).toMatchObject({
        code: EXIT.usage,
        stderr: expect.stringMatching(/is no address: expected host or host:port/),
      });
    },
  );

  test('a folder that nobody can publish', async () => {
    const said = await stage.run([...stage.atCloud(), 'publish', stage.at('EMPTY'), '--id', 'a', '--version', '1.0.0']);
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/no OCI image layout: it has no index\.json, and no config\.yaml/),
    });
  });

  test.each(['plan', 'apply'])('%s of a file that is not there, and of a directory', async (name) => {
    const missing = await stage.run([...stage.socket(), name, '/no/such.json']);
    expect(missing).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/\/no\/such\.json: no such file/),
    });
    const directory = await stage.run([...stage.socket(), name, 'EMPTY']);
    expect(directory).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/EMPTY: illegal operation on a/),
    });
  });

  test.each([
    [['why'], "missing required argument 'name'", 'aosctl why --help'],
    [['status', '--colour'], "unknown option '--colour'", 'aosctl status --help'],
    [['campaign', 'show'], "missing required argument 'id'", 'aosctl campaign show --help'],
    [['campaign'], 'a command is missing', 'aosctl campaign'],
    [['stats'], "unknown command 'stats'", 'aosctl --help'],
  ])('%j is told to programs, too, and people see where to read on', async (words, message, help) => {
    const said = await stage.run(['--json', ...words]);
    expect(said.code).toBe(EXIT.usage);
    const { error } = JSON.parse(said.stdout) as { error: { code: string; message: string } };
    expect(error).toEqual({ code: 'invalidArgument', message: expect.stringContaining(message) });
    expect(said.stderr).toContain(help);
    const people = await stage.run(words);
    expect(people).toMatchObject({ code: EXIT.usage, stdout: '', stderr: said.stderr });
    // What follows "--" is for others.
    expect(await stage.run([...words, '--', '--json'])).toMatchObject({ stdout: '' });
  });

  test('a file to judge that is not there, and one that is a directory', async () => {
    const judged = (file: string) => stage.run(['config', 'check', file, '--kind', 'item']);
    const missing = await judged('/no/such.json');
    expect(missing).toMatchObject({ code: EXIT.failed, stdout: '/no/such.json: no such file or directory\n' });
    const directory = await judged('EMPTY');
    expect(directory.stdout).toBe(`${stage.at('EMPTY')}: illegal operation on a directory\n`);
  });

  test('update start of something else than services and components', async () => {
    const said = await stage.run(['update', 'start', 'firmware']);
    expect(said).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(KIND) });
  });

  test.each(
    asking('cm', 'sm', 'iam', 'all')
      .filter(([, row]) => !row.orCloud && row.asks !== 'sm')
      .map(([name]) => name),
  )('%s is about this machine, and says so when another unit is named', async (name) => {
    const said = await stage.run(line(name, [...stage.socket(), '--unit', 'car']));
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/leave --unit out, or log in on car/),
    });
  });
});

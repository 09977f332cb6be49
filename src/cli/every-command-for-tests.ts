/** A right command line of every command of aosctl, and what makes it wrong, for tests of bad input. */
import type { Command } from 'commander';
import { commandsOf } from './program.ts';

/** What a command talks to; `nothing`: it only reads its arguments and files; `all`: it tells what it could not ask. */
export type Asks = 'cm' | 'sm' | 'iam' | 'cloud' | 'nothing' | 'all';

export interface Row {
  /** A command line that is right. */
  readonly args: readonly string[];
  readonly asks: Asks;
  /** Asks the cloud when the command line names a unit. */
  readonly orCloud?: true;
  /** Wrong or contradictory in itself: what is added, and what is said. */
  readonly wrong?: readonly (readonly [more: readonly string[], words: RegExp])[];
}

const NO_NUMBER = /Expected a whole number/;
const number = (flag: string) => [[flag, 'many'], NO_NUMBER] as const;
export const KIND = /Allowed choices are/;

export const ROWS: Readonly<Record<string, Row>> = {
  provision: {
    args: ['127.0.0.1:1', '--retry-count', '0'],
    asks: 'cloud',
    wrong: [number('--nodes'), number('--wait')],
  },
  publish: {
    args: ['SERVICE'],
    asks: 'cloud',
    wrong: [
      [['--type', 'firmware'], KIND],
      [['--config', 'x.json'], /leave out --type and --config/],
    ],
  },
  dev: { args: ['SERVICE', '--unit', 'car'], asks: 'cloud' },
  deploy: {
    args: ['web', '--version', '1.0.0'],
    asks: 'cloud',
    wrong: [number('--priority'), number('--wait'), [['--instances', '0'], /at least 1; "aosctl undeploy" removes/]],
  },
  undeploy: { args: ['web'], asks: 'cloud', wrong: [number('--wait')] },
  deployments: { args: [], asks: 'cloud' },
  scale: { args: ['web', '--instances', '2'], asks: 'cloud', wrong: [number('--wait')] },
  rollback: { args: ['web'], asks: 'cloud', wrong: [number('--wait')] },
  deprovision: { args: [], asks: 'cloud', wrong: [number('--wait')] },
  reset: { args: ['car'], asks: 'cloud' },
  forget: { args: ['car'], asks: 'cloud' },
  'node provision': { args: ['aux'], asks: 'cloud' },
  'node deprovision': { args: ['aux'], asks: 'cloud' },
  'node forget': { args: ['aux'], asks: 'iam' },
  renew: { args: [], asks: 'cloud' },
  status: { args: [], asks: 'cm', orCloud: true },
  nodes: { args: [], asks: 'cm', orCloud: true },
  items: { args: [], asks: 'cm', orCloud: true },
  instances: { args: [], asks: 'cm', orCloud: true },
  units: { args: [], asks: 'cloud' },
  events: {
    args: [],
    asks: 'cm',
    orCloud: true,
    wrong: [
      number('--tail'),
      [['--kind', 'story'], KIND],
      [['--unit', 'car', '--kind', 'item'], /with --unit leave --kind out/],
    ],
  },
  logs: {
    args: ['web'],
    asks: 'sm',
    orCloud: true,
    wrong: [
      number('--tail'),
      [['--since', 'soon'], /Expected a time such as/],
      [['--since', '5m', '--until', '10m'], /--since .* is later than --until/],
      [['--follow', '--previous'], /--follow goes on: leave --previous/],
      [['--unit', 'car', '--tail', '5', '-t'], /with --unit leave --tail, --timestamps out/],
    ],
  },
  exec: { args: ['web', 'ls'], asks: 'sm', wrong: [[['--unit', 'car'], /log in there, and leave --unit out/]] },
  top: {
    args: ['--once'],
    asks: 'sm',
    orCloud: true,
    wrong: [[['--watch'], /option '-w, --watch' cannot be used with option '--once'/]],
  },
  networks: { args: [], asks: 'cm' },
  certs: { args: [], asks: 'iam' },
  alerts: { args: [], asks: 'sm', orCloud: true },
  why: { args: ['web'], asks: 'cm' },
  plan: {
    args: [],
    asks: 'cm',
    wrong: [
      [['/no/such/file'], /cannot read .*\/no\/such\/file/],
      [['NOT-JSON'], /is not JSON/],
    ],
  },
  update: { args: [], asks: 'cm' },
  'update start': { args: ['sota'], asks: 'cm' },
  'update lock': {
    args: ['--owner', 'me', '--reason', 'driving', '--for', '1h'],
    asks: 'cm',
    wrong: [[['--for', 'soon'], /Expected a span of time such as 30m/]],
  },
  'update unlock': { args: ['--owner', 'me'], asks: 'cm' },
  doctor: { args: [], asks: 'all' },
  'config check': { args: ['GOOD-CONFIG', '--kind', 'item'], asks: 'nothing', wrong: [[['--kind', 'car'], KIND]] },
  'support-bundle': {
    args: ['--output', 'ARCHIVE', '--config-dir', 'EMPTY'],
    asks: 'all',
    wrong: [
      [
        ['--output', '/no/such/x.tar.gz'],
        /^aosctl: cannot write \/no\/such\/x\.tar\.gz: tar.*No such file or directory $/,
      ],
    ],
  },
  completion: { args: ['bash'], asks: 'nothing' },
  'man-page': { args: [], asks: 'nothing' },
  bundle: { args: ['OUT', 'car'], asks: 'cloud' },
  apply: {
    args: ['BUNDLE'],
    asks: 'cm',
    wrong: [number('--wait')],
  },
  'unit-sets': { args: [], asks: 'cloud' },
  'unit-set': {
    args: ['cars'],
    asks: 'cloud',
    wrong: [[['--delete', '--member', 'car'], /leave --member and --verification out/]],
  },
  subjects: { args: [], asks: 'cloud' },
  subject: {
    args: ['drivers'],
    asks: 'cloud',
    wrong: [
      number('--priority'),
      [['--type', 'crowd'], KIND],
      [['--delete', '--title', 'x'], /leave the other options out/],
    ],
  },
  assign: { args: ['drivers'], asks: 'cloud' },
  withdraw: { args: ['drivers'], asks: 'cloud' },
  subscribe: { args: ['drivers', 'web'], asks: 'cloud', wrong: [number('--instances'), number('--priority')] },
  unsubscribe: { args: ['drivers', 'web'], asks: 'cloud' },
  campaigns: { args: [], asks: 'cloud' },
  'campaign begin': { args: ['web', '--version', '1.0.0', '--stage', 'cars'], asks: 'cloud' },
  'campaign show': { args: ['1'], asks: 'cloud' },
  'campaign advance': { args: ['1'], asks: 'cloud' },
  'campaign stop': { args: ['1'], asks: 'cloud' },
  login: { args: [], asks: 'cloud' },
  users: { args: [], asks: 'cloud' },
  'user add': { args: ['bob', '--role', 'oem'], asks: 'cloud', wrong: [[['--role', 'king'], KIND]] },
  'user certificate': { args: ['bob', '--out', 'OUT'], asks: 'cloud' },
  'user token': { args: ['bob'], asks: 'cloud', wrong: [number('--days')] },
  'user remove': { args: ['bob'], asks: 'cloud' },
  verify: { args: ['web', '--version', '1.0.0'], asks: 'cloud' },
};

/** Credentials that can be read. */
export const MINE = ['--cert', 'expired.pem', '--key', 'expired-key.pem'];

export const rows = Object.entries(ROWS);
export const asking = (...kinds: readonly Asks[]) => rows.filter(([, { asks }]) => kinds.includes(asks));
export const DAEMONS = ['cm', 'sm', 'iam'] as const;

/** The parts of a line: the command's words, its arguments, and what is said of surroundings. */
export const line = (name: string, around: readonly string[], more: readonly string[] = []) => [
  ...around,
  ...(ROWS[name]!.asks === 'cloud' && !around.includes('--unit') ? ['--unit', 'car'] : []),
  ...name.split(' '),
  ...ROWS[name]!.args,
  ...more,
];

const nowhere = { write: () => undefined };
const allCommands = () => commandsOf(async () => undefined, nowhere, nowhere);

/** The words that lead to each command that does something. */
export const everyCommand = (): string[] => leavesOf(allCommands());

function leavesOf(command: Command, words: readonly string[] = []): string[] {
  const below = command.commands.flatMap((one) => leavesOf(one, [...words, one.name()]));
  const acts = words.length > 0 && (command as unknown as { _actionHandler: unknown })._actionHandler !== null;
  return [...(acts ? [words.join(' ')] : []), ...below];
}

export function commandOf(name: string): Command {
  return name.split(' ').reduce((command, word) => command.commands.find((one) => one.name() === word)!, allCommands());
}

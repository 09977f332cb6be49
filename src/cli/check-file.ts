/** Judgement of configuration files by those who will read them (spec/beyond.md P-10). */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AosError, asAosError, parseJson } from '../core/index.ts';
import { type CheckReport, judgeFile, withLine } from '../daemon/index.ts';
import { loadDaemonChecks } from './daemon-checks.ts';
import { plainWords } from './plain-words.ts';

/** Each kind with the program that knows it: so the judge is who will read it. */
const JUDGES = {
  cm: ['aos-cm', 'config'],
  sm: ['aos-sm', 'config'],
  iam: ['aos-iam', 'config'],
  mp: ['aos-mp', 'config'],
  cloud: ['aos-cloud', 'config'],
  unit: ['aos-cm', 'unit-config'],
  resources: ['aos-sm', 'resources'],
} as const;

/** What a file can be. */
export const KINDS = [...Object.keys(JUDGES), 'item'] as (keyof typeof JUDGES | 'item')[];
export type Kind = (typeof KINDS)[number];

/** By names that people and other implementations use; the first that fits. */
const NAMES: readonly (readonly [RegExp, Kind])[] = [
  [/unit[-_.]?config|(^|[^a-z])unit\.cfg$/i, 'unit'],
  [/(^|[^a-z])resources([^a-z]|$)/i, 'resources'],
  [/(^|[^a-z])(cm|communication_?manager)([^a-z]|$)/i, 'cm'],
  [/(^|[^a-z])(sm|service_?manager)([^a-z]|$)/i, 'sm'],
  [/(^|[^a-z])(iam|iamanager)([^a-z]|$)/i, 'iam'],
  [/(^|[^a-z])(mp|message_?proxy)([^a-z]|$)/i, 'mp'],
  [/cloud/i, 'cloud'],
  [/item|service/i, 'item'],
];

/** Throws `invalidArgument` when the name says nothing. */
export function kindOf(file: string): Kind {
  const found = NAMES.find(([pattern]) => pattern.test(basename(file)))?.[1];
  if (found) return found;
  throw new AosError('invalidArgument', `${file}: its name does not tell what it is; give --kind ${KINDS.join(', ')}`);
}

/** Who judges such a file, and what it calls its kind; undefined for one that aosctl judges by itself. */
export const judgeOf = (kind: Kind) => (kind === 'item' ? undefined : JUDGES[kind]);

/** Never throws about the file; `notFound` when the program that knows the kind is not installed. */
export async function checkFile(file: string, kind: Kind): Promise<CheckReport> {
  const report = await judge(file, kind);
  return report.problem === undefined ? report : { ...report, problem: plainWords(report.problem) };
}

async function judge(file: string, kind: Kind): Promise<CheckReport> {
  if (kind === 'item') return checkItem(file);
  const [program, what] = JUDGES[kind];
  const checks = (await loadDaemonChecks())[program];
  return checks ? judgeFile(checks, what, file) : askProgram(program, what, file);
}

function askProgram(program: string, what: string, file: string): Promise<CheckReport> {
  const beside = join(dirname(process.argv[1]!), `${program}.mjs`);
  const [command, ...words] = existsSync(beside) ? [process.execPath, beside] : [program];
  return new Promise((resolve, reject) => {
    execFile(command!, [...words, '--check', what, '-c', file], (error, stdout, stderr) => {
      if (stdout === '')
        reject(asAosError(error ?? stderr, `${program} cannot be asked about ${file}; is it installed?`));
      else resolve(parseJson(stdout, `the answer of ${program}`) as CheckReport);
    });
  });
}

async function checkItem(path: string): Promise<CheckReport> {
  try {
    const text = await readFile(path, 'utf8');
    const { readItemConfig } = await import('../oci/index.ts');
    try {
      return { path, warnings: readItemConfig(text).warnings };
    } catch (error) {
      const { cause, fields } = asAosError(error);
      // Text that is no JSON has its place in the words of the parser.
      const problem =
        cause instanceof SyntaxError || fields.field === undefined ? asAosError(error) : withLine(error, text, path);
      return { path, problem: problem.message, warnings: [] };
    }
  } catch (error) {
    return { path, problem: asAosError(error).message, warnings: [] };
  }
}

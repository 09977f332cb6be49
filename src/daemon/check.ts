/** Judgement of documents by the daemon that reads them (spec/beyond.md P-10): as a program of its own, or asked while it runs. */
import { readFile } from 'node:fs/promises';
import { AosError, asAosError, isObject } from '../core/index.ts';
import type { ControlHandlers } from './control.ts';

/**
 * What a daemon can judge, by kind: reads the text of a document, answers what its author should know, throws what is
 * wrong with it. Every daemon has `config`.
 */
export type Checks = Readonly<Record<string, (text: string, path: string) => readonly string[]>>;

/** What a document is worth. */
export interface CheckReport {
  readonly path: string;
  /** What is wrong; absent when nothing is. */
  readonly problem?: string;
  readonly warnings: readonly string[];
}

/** A document whose author asks before anybody reads it. */
export interface CheckQuestion {
  readonly kind: string;
  readonly path: string;
  readonly text: string;
}

/** Path of the control socket that takes a question. */
export const CHECK_PATH = '/check';

/** The answer to `CHECK_PATH`: quicker than a process that loads everything for one file. */
export function checkHandlers(checks: Checks): ControlHandlers {
  return {
    [CHECK_PATH]: (body) => {
      const { kind, path, text } = isObject(body) ? body : {};
      if (typeof kind !== 'string' || typeof path !== 'string' || typeof text !== 'string') {
        throw new AosError('invalidArgument', 'expected {"kind": "…", "path": "…", "text": "…"}');
      }
      return judge(checks, kind, path, () => text);
    },
  };
}

/** The same of a file. */
export const judgeFile = (checks: Checks, kind: string, path: string): Promise<CheckReport> =>
  judge(checks, kind, path, () => readFile(path, 'utf8'));

async function judge(
  checks: Checks,
  kind: string,
  path: string,
  read: () => string | Promise<string>,
): Promise<CheckReport> {
  try {
    const check = checks[kind];
    if (!check) {
      throw new AosError('invalidArgument', `expected one of ${Object.keys(checks).join(', ')}, found "${kind}"`);
    }
    return { path, warnings: check(await read(), path) };
  } catch (error) {
    return { path, problem: asAosError(error).message, warnings: [] };
  }
}

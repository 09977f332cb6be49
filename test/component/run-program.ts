/** Programs of Node.js that a test runs to their end, and aosctl as the operator of a cloud. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a program has said, and how it ended. */
export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** aosctl as it stands in the sources. */
export const AOSCTL = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');

/** Much more than any program says in a test. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Runs a script with its arguments to its end; one that fails is an answer, too. */
export function runProgram(script: string, args: readonly string[], env = process.env): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args], { env, maxBuffer: MAX_ANSWER_BYTES }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
  });
}

/** The profile of the operator of the cloud in a directory, in a file there; answers its path. `unit`: whom commands mean. */
export async function writeProfile(home: string, restUrl: string, unit?: string): Promise<string> {
  const pki = join(home, 'work', 'pki');
  const path = join(home, 'profile.json');
  const profile = {
    ...{ cloud: restUrl, ca: join(pki, 'root.pem'), ...(unit !== undefined && { unit }) },
    ...{ cert: join(pki, 'operator.pem'), key: join(pki, 'operator-key.pem') },
  };
  await writeFile(path, JSON.stringify(profile));
  return path;
}

/** The mark file: what the node is, for units, scripts and tools too (spec/iam.md 6). */
import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  AosError,
  asAosError,
  type ErrorInfo,
  faultPoint,
  isNodeState,
  type NodeState,
  toIamErrorInfo,
} from '../../core/index.ts';
import { syncDirectory, writeFileAtomic } from '../../storage/index.ts';

export interface StateReading {
  readonly state: NodeState;
  readonly error?: ErrorInfo;
}

/** An absent file means unprovisioned; one that says something else than a state means `error`. */
export async function readStateFile(path: string): Promise<StateReading> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { state: 'unprovisioned' };
    return { state: 'error', error: toIamErrorInfo(asAosError(error, 'cannot read the node state')) };
  }
  return parseState(text);
}

/** The word in the first line. */
export function parseState(text: string): StateReading {
  const [word = ''] = text.split('\n');
  if (isNodeState(word)) return { state: word };
  const found = word === '' ? 'is empty' : `says "${word.slice(0, 20)}"`;
  return { state: 'error', error: toIamErrorInfo(new AosError('invalidArgument', `the node state file ${found}`)) };
}

/** The word without newline, or no file at all. Throws `notFound` when the directory is missing. */
export async function writeStateFile(path: string, state: NodeState): Promise<void> {
  if (state !== 'unprovisioned') {
    await writeFileAtomic(path, state, { faultName: 'iam.node-state' });
    return;
  }
  faultPoint('iam.node-state.remove');
  await rm(path, { force: true });
  await syncDirectory(dirname(path));
  faultPoint('iam.node-state.removed');
}

/** What a token holds, as a program sees it that is not ours. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { softhsmLibrary } from '../../devenv/token.ts';
import type { IamNode } from './iam-node.ts';

export interface TokenObjects {
  readonly privateKeys: number;
  readonly publicKeys: number;
  readonly certificates: number;
}

/** Counts objects, of one label or of all. */
export async function tokenObjects(node: IamNode, tokenLabel: string, label?: string): Promise<TokenObjects> {
  const pin = await readFile(node.pinPath, 'utf8');
  const words = ['--module', softhsmLibrary(), '--token-label', tokenLabel, '--login', '--pin', pin, '--list-objects'];
  const { stdout } = await promisify(execFile)('pkcs11-tool', words, {
    env: { ...process.env, SOFTHSM2_CONF: node.at('softhsm2.conf') },
  });
  const parts = stdout.split(/(?=^\S)/m).filter((part) => label === undefined || labelOf(part) === label);
  const count = (kind: string) => parts.filter((part) => part.startsWith(kind)).length;
  return {
    privateKeys: count('Private Key'),
    publicKeys: count('Public Key'),
    certificates: count('Certificate'),
  };
}

const labelOf = (part: string) => /^ +label: +(.*)$/m.exec(part)?.[1];

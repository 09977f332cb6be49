/**
 * A file that says: a provisioning is under way, its keys wait for certificates. What wipes a blank node before IAM
 * starts in provisioning mode leaves alone one whose mark is younger than 24 hours (spec/decisions.md PR-05, IA-12).
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { readDocument } from '../../core/index.ts';
import { removeTemporaryFiles, writeFileAtomic } from '../../storage/index.ts';
import { MAX_PIN_LENGTH } from '../limits.ts';

const FILE_NAME = 'provisioning-under-way';
const PASSWORDS_NAME = 'provisioning-passwords';
const SECRET_MODE = 0o600;
/** Tokens lock themselves after a few wrong passwords. */
const MAX_FORMER = 2;

const Passwords = z.array(z.string());

export class ProvisioningMark {
  readonly #workingDir: string;
  readonly #path: string;
  readonly #passwordsPath: string;

  constructor(workingDir: string) {
    this.#workingDir = workingDir;
    this.#path = join(workingDir, FILE_NAME);
    this.#passwordsPath = join(workingDir, PASSWORDS_NAME);
  }

  async set(): Promise<void> {
    await writeFileAtomic(this.#path, '', { faultName: 'iam.provisioning-mark' });
  }

  /**
   * Keeps the password until the provisioning is over, and answers those of earlier tries, the last one first: each
   * try has its own, and the tokens were owned with one of them.
   */
  async remember(password: string): Promise<string[]> {
    if (password.length > MAX_PIN_LENGTH) return [];
    const former = (await this.#passwords()).filter((known) => known !== password).slice(0, MAX_FORMER);
    const content = JSON.stringify([password, ...former]);
    await writeFileAtomic(this.#passwordsPath, content, { mode: SECRET_MODE, faultName: 'iam.provisioning-passwords' });
    return former;
  }

  /** A file that cannot be read is none: then a token that is owned is refused, as one of a stranger. */
  async #passwords(): Promise<string[]> {
    try {
      const stored: unknown = JSON.parse(await readFile(this.#passwordsPath, 'utf8'));
      return readDocument(Passwords, stored, { what: PASSWORDS_NAME }).value;
    } catch {
      return [];
    }
  }

  /** The provisioning is over; nothing of its passwords stays, nor of what a crash left of writing them. */
  async clear(): Promise<void> {
    await rm(this.#passwordsPath, { force: true });
    await removeTemporaryFiles(this.#workingDir, PASSWORDS_NAME);
    await rm(this.#path, { force: true });
  }
}

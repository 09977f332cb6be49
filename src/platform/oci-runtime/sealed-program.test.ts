/** Needs crun: what is sealed is the program of the host. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, openSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { needProgram } from './choose-runtime.ts';
import { SealedProgram } from './sealed-program.ts';

const works = async () => true;

describe('[B-01] a sealed program', () => {
  let directory: string;
  let file: string;
  const open: SealedProgram[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-sealed-'));
    file = join(directory, 'crun');
    copyFileSync(await needProgram('crun'), file);
  });

  afterEach(async () => {
    for (const program of open.splice(0)) program.close();
    await rm(directory, { recursive: true, force: true });
  });

  function seal(check = works): SealedProgram {
    const program = new SealedProgram(file, check, silentLogger);
    open.push(program);
    return program;
  }

  test('is another file with the same bytes, which runs and cannot be written to', async () => {
    const path = await seal().path();
    expect(path).not.toBe(file);
    expect(readFileSync(path).equals(readFileSync(file))).toBe(true);
    expect(execFileSync(path, ['--version'], { encoding: 'utf8' })).toMatch(/^crun version/);
    expect(() => writeFileSync(openSync(path, 'r+'), 'other bytes')).toThrow('EPERM');
  });

  test('is made once for all who ask, and anew for another version', async () => {
    const program = seal();
    const paths = await Promise.all([program.path(), program.path()]);
    expect(new Set(paths).size).toBe(1);
    utimesSync(file, 1, 1);
    const next = await program.path();
    expect(next).not.toBe(paths[0]);
    // Somebody may be about to execute it.
    expect(execFileSync(paths[0]!, ['--version'], { encoding: 'utf8' })).toMatch(/^crun version/);
  });

  test('is the file itself where the host does not execute the copy, and for a script', async () => {
    expect(await seal(async () => false).path()).toBe(file);
    writeFileSync(file, '#!/bin/sh\necho crun version 0\n');
    expect(await seal().path()).toBe(file);
  });

  test('that is not there is told', async () => {
    await rm(file);
    await expect(seal().path()).rejects.toThrow(file);
  });
});

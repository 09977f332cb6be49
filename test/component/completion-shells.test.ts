/** The completion of aosctl in the shells that it is for, with a real Tab where the shell needs a terminal. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEBIAN_ROOT, debianProgram } from '../../devenv/debian-programs.ts';
import { aosctl } from '../../src/cli/program.ts';

const STORY_MS = 60_000;
const run = promisify(execFile);

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-completion-'));
  // Where zsh looks for a function of this name, as the package installs it.
  await Promise.all([completion('zsh', '_aosctl'), completion('fish', 'aosctl.fish')]);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function completion(shell: string, file: string): Promise<void> {
  let text = '';
  const stdout = {
    write: (more: string) => {
      text += more;
    },
  };
  const signal = new AbortController().signal;
  await aosctl(['completion', shell], { stdout, stderr: stdout, env: {}, signal });
  await writeFile(join(directory, file), text);
}

/** Runs a program of a shell's own language where that shell is installed: its modules lie in places that are built in. */
async function inShell(program: string, ...args: readonly string[]): Promise<string> {
  // Where they were installed on the host there is nothing to lay over it.
  const isTaken = program.startsWith(DEBIAN_ROOT);
  const overlay = `mount -t overlay overlay -o lowerdir=${DEBIAN_ROOT}/usr:/usr /usr && exec "$@"`;
  const words = ['--mount', 'sh', '-c', isTaken ? overlay : 'exec "$@"', 'sh', program, ...args];
  const env = { ...process.env, HOME: directory, TERM: 'dumb' };
  const { stdout } = await run('unshare', words, { cwd: directory, env, timeout: STORY_MS });
  return stdout;
}

/** A terminal with a zsh in it; each line waits for what was asked for, or the test runs out of time. */
const ZSH = String.raw`
zmodload zsh/zpty
zpty z "$1 -f -i"
zpty -w z 'PS1=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -d dump; echo REA""DY'
zpty -r -m z all '*READY*'
zpty -w -n z $'aosctl stat\t'
zpty -r -m z all '*aosctl status*'
zpty -w -n z $'--wat\t'
zpty -r -m z all '*--watch*'
echo offered
zpty -d z
`;

// Mounts are root's.
describe.skipIf(process.getuid?.() !== 0)('[P-15] completion', { timeout: STORY_MS }, () => {
  test('in zsh answers the first Tab, and offers commands and options', async () => {
    const zsh = debianProgram('/bin/zsh');
    await writeFile(join(directory, 'story.zsh'), ZSH);
    expect(await inShell(zsh, '-f', 'story.zsh', zsh)).toBe('offered\n');
  });

  test('in fish offers commands, options and the choices of an option', async () => {
    const offered = async (line: string) => {
      const question = `source aosctl.fish; complete -C ${JSON.stringify(line)}`;
      const said = await inShell(debianProgram('/usr/bin/fish'), '--no-config', '-c', question);
      return said.split('\n').map((one) => one.split('\t')[0]);
    };
    expect(await offered('aosctl stat')).toContain('status');
    expect(await offered('aosctl status --w')).toContain('--watch');
    expect(await offered('aosctl config check --kind ')).toEqual(expect.arrayContaining(['cm', 'item', 'unit']));
  });
});

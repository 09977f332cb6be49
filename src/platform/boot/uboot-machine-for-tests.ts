/** A directory with an environment of U-Boot and programs that play its tools, and what U-Boot does when it is switched on. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UbootChooser } from './uboot.ts';

const PRINTENV = `#!/bin/sh
[ "$1" = -c ] && [ "$3" = -n ] || exit 9
grep -q "^$4=" "$2" || { echo "## Error: \\"$4\\" not defined" >&2; exit 1; }
grep "^$4=" "$2" | cut -d= -f2-
`;
const SETENV = `#!/bin/sh
[ "$1" = -c ] || exit 9
grep -v "^$3=" "$2" > "$2.new"
echo "$3=$4" >> "$2.new"
mv "$2.new" "$2"
`;

export class UbootMachine {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** It has booted the first slot. */
  static async create(directory?: string): Promise<UbootMachine> {
    const machine = new UbootMachine(directory ?? (await mkdtemp(join(tmpdir(), 'aos-uboot-'))));
    await mkdir(machine.directory, { recursive: true });
    await writeFile(machine.at('env'), '');
    await machine.play('fw_printenv', PRINTENV);
    await machine.play('fw_setenv', SETENV);
    await machine.boot();
    return machine;
  }

  at(name: string): string {
    return join(this.directory, name);
  }

  /** A program of this name does this from now on. */
  async play(name: string, script: string): Promise<void> {
    await writeFile(this.at(name), script);
    await chmod(this.at(name), 0o755);
  }

  get chooser(): UbootChooser {
    const programs = { printenv: this.at('fw_printenv'), setenv: this.at('fw_setenv'), config: this.at('env') };
    return new UbootChooser(programs, this.at('cmdline'));
  }

  async value(name: string): Promise<string | undefined> {
    return new RegExp(`^${name}=(.*)$`, 'm').exec(await readFile(this.at('env'), 'utf8'))?.[1];
  }

  /** Switched off and on, as the script in docs/firmware.md says. */
  async boot(): Promise<void> {
    const slot = (await this.value('aos_boot_next')) ?? (await this.value('aos_boot_main')) ?? '0';
    const environment = await readFile(this.at('env'), 'utf8');
    await writeFile(this.at('env'), environment.replace(/^aos_boot_next=.*\n/m, ''));
    await writeFile(this.at('cmdline'), `quiet aos.slot=${slot} panic=5\n`);
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

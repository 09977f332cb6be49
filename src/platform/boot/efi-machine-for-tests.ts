/** A directory with the files of efivarfs, and what firmware does with them when a machine is switched on. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootVariable, buildLoadOption, buildNumbers, parseNumbers } from './efi-format.ts';

const NAMESPACE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const ATTRIBUTES = Buffer.from([7, 0, 0, 0]);

export class EfiMachine {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(directory?: string): Promise<EfiMachine> {
    const at = directory ?? (await mkdtemp(join(tmpdir(), 'aos-efi-')));
    await mkdir(at, { recursive: true });
    return new EfiMachine(at);
  }

  async put(name: string, value: Buffer): Promise<void> {
    await writeFile(this.path(name), Buffer.concat([ATTRIBUTES, value]));
  }

  path(name: string): string {
    return join(this.directory, `${name}-${NAMESPACE}`);
  }

  async numbers(name: string): Promise<number[]> {
    const bytes = await readFile(this.path(name)).catch(() => ATTRIBUTES);
    return parseNumbers(bytes.subarray(4));
  }

  /** An entry as an installer makes it, behind the others. */
  async addEntry(entry: number, guid: string): Promise<void> {
    const partition = { guid, number: entry + 1, startSector: 2048, sectors: 4096 };
    await this.put(bootVariable(entry), buildLoadOption('by an installer', partition, '/EFI/BOOT/bootx64.efi'));
    await this.put('BootOrder', buildNumbers([...(await this.numbers('BootOrder')), entry]));
  }

  /** Switched off and on: `BootNext` is taken once, else the first of `BootOrder`. */
  async boot(): Promise<number | undefined> {
    const [next] = await this.numbers('BootNext');
    const [first] = await this.numbers('BootOrder');
    await rm(this.path('BootNext'), { force: true });
    const entry = next ?? first;
    if (entry !== undefined) await this.put('BootCurrent', buildNumbers([entry]));
    return entry;
  }

  /** Names and contents of all variables. */
  async dump(): Promise<Record<string, string>> {
    const names = (await readdir(this.directory)).sort();
    const contents = await Promise.all(names.map((name) => readFile(join(this.directory, name), 'hex')));
    return Object.fromEntries(names.map((name, index) => [name.slice(0, -NAMESPACE.length - 1), contents[index]!]));
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

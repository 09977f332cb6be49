/**
 * A virtual machine for tests: boots in some seconds without hardware virtualisation, runs scripts, loses its power,
 * boots again. Whatever happens, its qemu ends with the test, and its console is kept where a failure names it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Agent, type ScriptOptions, type ScriptResult } from './agent.ts';
import { CHECKOUT_SERIAL, makeCheckoutDisk } from './checkout-disk.ts';
import { Disk, type PowerCut } from './disk.ts';
import type { MachineImage } from './image.ts';
import { makeDisks } from './machine-disks.ts';
import { DiskServer } from './nbd.ts';
import type { Link, MachineNetwork } from './network.ts';
import { kernelWords, qemuCommand } from './qemu.ts';
import type { SlotsOptions } from './slots.ts';

const run = promisify(execFile);

/** Six seconds when nobody else needs the processor. */
const BOOT_TIMEOUT_MS = 150_000;
const SHUTDOWN_TIMEOUT_MS = 150_000;
const SOCKET_TIMEOUT_MS = 10_000;
/** A panic with its registers and calls is half of it. */
const CONSOLE_TAIL_LINES = 80;
const SLOW_BYTES = 8 * 1024 * 1024;

export interface MachineOptions {
  readonly image: MachineImage;
  /** Also the host name. */
  readonly name?: string;
  readonly memoryMib?: number;
  readonly cpus?: number;
  /** Size of `/var/aos`, a partition of its own with user and project quotas. */
  readonly dataBytes?: number;
  /** Size of one more disk, `/dev/vdc`, without anything on it; none by default. */
  readonly blankDiskBytes?: number;
  /** A disk with this checkout, for tests that run inside (tests-inside.ts). */
  readonly hasCheckout?: boolean;
  /** For the kernel's command line. */
  readonly kernelWords?: readonly string[];
  readonly network?: MachineNetwork;
  readonly readOnlyRoot?: boolean;
  /** Boots by UEFI firmware, whose variables last as long as the machine; some seconds slower. */
  readonly hasFirmware?: boolean;
  /**
   * Boots by UEFI firmware from a disk of its own, `/dev/vdc`, with two slots for the boot chain and two for what is laid
   * over the root file system (slots.ts). The root is read-only. A reboot of the machine boots it again.
   */
  readonly slots?: SlotsOptions;
  /** Files that lie on the root disk before the first boot, by absolute path. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
  /** Decides which unflushed writes survive a power cut; a seeded one makes a failure repeatable. */
  readonly random?: () => number;
}

export interface BootOptions {
  /** What the machine believes at boot, in seconds since 1970; default: the truth. */
  readonly clockS?: number;
  /** A machine that shows no sign of life within it is given up. */
  readonly timeoutMs?: number;
}

/** Debian's `ovmf`: the program, and a store of variables to begin with. */
const FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const VARIABLES = 'variables.fd';
const CHECKOUT = 'checkout.img';
const FIRMWARE_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';

export class Machine {
  /** Console and sockets; removed by `close` unless the machine failed. */
  readonly directory: string;
  readonly name: string;
  readonly link: Link | undefined;
  readonly #options: MachineOptions;
  readonly #machineId: string;
  readonly #disks: readonly DiskServer[];
  readonly #random: () => number;
  #qemu: ChildProcess | undefined;
  #agent: Agent | undefined;
  #boots = 0;
  #failed = false;
  #isEnding = false;
  #booting: Promise<void> | undefined;

  private constructor(
    directory: string,
    options: MachineOptions,
    disks: readonly DiskServer[],
    link: Link | undefined,
    machineId: string,
  ) {
    this.#machineId = machineId;
    this.directory = directory;
    this.name = options.name ?? 'machine';
    this.#options = options;
    this.#disks = disks;
    this.link = link;
    this.#random = options.random ?? Math.random;
  }

  /** A machine with disks of its own, switched off. */
  static async create(options: MachineOptions): Promise<Machine> {
    const directory = await mkdtemp(join(tmpdir(), 'aos-machine-'));
    const machineId = randomBytes(16).toString('hex');
    const link = await options.network?.addLink();
    const paths = await makeDisks(directory, options, wordsOf(options, machineId, link));
    const disks = await Promise.all(
      paths.map((path) => DiskServer.listen(new Disk(path), `${path.slice(0, -'.img'.length)}.nbd`)),
    );
    if (options.hasCheckout) await makeCheckoutDisk(join(directory, CHECKOUT));
    if (options.hasFirmware || options.slots) await run('cp', [FIRMWARE_VARIABLES, join(directory, VARIABLES)]);
    return new Machine(directory, options, disks, link, machineId);
  }

  /** The console of the present boot. */
  get consolePath(): string {
    return join(this.directory, `console-${this.#boots}.log`);
  }

  /** The kernel's command line, but for the clock. */
  get words(): readonly string[] {
    return wordsOf(this.#options, this.#machineId, this.link);
  }

  get isOn(): boolean {
    return this.#qemu !== undefined;
  }

  /** The process that is the machine; undefined while it is off. */
  get pid(): number | undefined {
    return this.#qemu?.pid;
  }

  /** Switches it on; resolves when scripts can run. Rejects in bounded time with the end of the console. */
  async boot(options: BootOptions = {}): Promise<void> {
    if (this.#qemu) throw new Error(`${this.name} is on already`);
    this.#boots += 1;
    const { timeoutMs = BOOT_TIMEOUT_MS } = options;
    const port = join(this.directory, 'agent.sock');
    await rm(port, { force: true });
    if (this.#isEnding) throw new Error(`${this.name} is being switched off`);
    const log = openSync(join(this.directory, 'qemu.log'), 'a');
    const [program, ...words] = [...(this.#options.network?.enter ?? []), ...this.#command(port, options)];
    // Dies with us, also when we are killed: no machine outlives its test.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', program!, ...words], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#qemu = qemu;
    const ended = once(qemu, 'exit').then(() => {
      if (this.#qemu === qemu) this.#qemu = undefined;
      throw new Error('qemu ended');
    });
    ended.catch(() => undefined);
    const timer = new AbortController();
    try {
      await Promise.race([
        this.#connect(port),
        ended,
        sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
          throw new Error(`no sign of life within ${timeoutMs / 1000} s`);
        }),
      ]);
    } catch (error) {
      await this.#endQemu('SIGKILL');
      if (this.#isEnding) throw error;
      throw this.failure(`${this.name} did not boot: ${(error as Error).message}`);
    } finally {
      timer.abort();
    }
    if (this.#options.slots) this.#bootAgainAfter(qemu);
  }

  /** What is a reboot in the machine is an end of qemu. One that we end ourselves is no reboot. */
  #bootAgainAfter(qemu: ChildProcess): void {
    qemu.once('exit', () => {
      if (this.#isEnding) return;
      this.#agent?.close();
      this.#agent = undefined;
      this.#qemu = undefined;
      this.#booting = this.boot();
      // Whoever needs the machine next is told.
      this.#booting.catch(() => undefined);
    });
  }

  /** Runs a bash script as root. */
  async run(script: string, options?: ScriptOptions): Promise<ScriptResult> {
    if (!this.#agent) throw new Error(`${this.name} is off`);
    try {
      return await this.#agent.run(script, options);
    } catch (error) {
      throw this.failure(`${this.name}: ${(error as Error).message}`);
    }
  }

  /** As `run`; answers standard output, and throws what the script said when it failed. */
  async must(script: string, options?: ScriptOptions): Promise<string> {
    const { status, stdout, stderr } = await this.run(script, options);
    if (status !== 0) throw this.failure(`${this.name}: status ${status} of: ${script}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Asks again until the script succeeds. */
  async until(what: string, script: string, patienceMs = 180_000): Promise<string> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const { status, stdout, stderr } = await this.#runWhileOn(script);
      if (status === 0) return stdout;
      if (performance.now() > deadline) {
        throw this.failure(`${this.name}: it never came about that ${what}:\n${stdout}${stderr}`);
      }
      // Each look takes from the machine what it needs to get there.
      await sleep(1000);
    }
  }

  /** As `run`; a machine that is rebooting is no failure. */
  async #runWhileOn(script: string): Promise<ScriptResult> {
    const hadFailed = this.#failed;
    try {
      return await this.run(script);
    } catch (error) {
      if (!this.#options.slots) throw error;
      this.#failed = hadFailed;
      await this.#booting;
      return { status: 1, stdout: '', stderr: (error as Error).message, output: Buffer.alloc(0) };
    }
  }

  async copyIn(content: string | Buffer, path: string, mode = '0644'): Promise<void> {
    await this.must(`mkdir -p "$(dirname '${path}')" && cat >'${path}' && chmod ${mode} '${path}'`, { input: content });
  }

  async copyOut(path: string): Promise<Buffer> {
    const { status, output, stderr } = await this.run(`cat '${path}'`);
    if (status !== 0) throw new Error(`${this.name}: cannot read ${path}: ${stderr}`);
    return output;
  }

  /** Entries of the journal, this boot's by default. */
  journal(...words: readonly string[]): Promise<string> {
    const quoted = (words.length > 0 ? words : ['--boot']).map((word) => `'${word}'`);
    return this.must(`journalctl --no-pager --quiet ${quoted.join(' ')}`);
  }

  /** Sets the wall clock. */
  async setClock(date: Date): Promise<void> {
    await this.must(`date --set=@${Math.floor(date.getTime() / 1000)}`);
  }

  /** Fills a file system but for this many bytes; `freeDisk` undoes it. */
  async fillDisk(mountPoint: string, leaveBytes = 0): Promise<void> {
    // The file system needs a little for itself, nobody knows how much: the last megabytes are written until it is full.
    await this.must(`cd '${mountPoint}'
free=$(df --output=avail -B1 . | tail -n 1)
quick=$((free - ${leaveBytes} - ${SLOW_BYTES}))
[ "$quick" -le 0 ] || fallocate -l "$quick" .filled
dd if=/dev/zero of=.filled-rest bs=64k ${leaveBytes === 0 ? '' : `count=${SLOW_BYTES / 65_536}`} || true
sync`);
  }

  async freeDisk(mountPoint: string): Promise<void> {
    await this.must(`rm -f '${mountPoint}/.filled' '${mountPoint}/.filled-rest'`);
  }

  /** Pulls the network cable, or plugs it in again. */
  async setNetwork(state: 'up' | 'down'): Promise<void> {
    if (!this.link || !this.#options.network) throw new Error(`${this.name} has no network`);
    await this.#options.network.setLink(this.link, state);
  }

  /** The power is gone, now. What the disks had not flushed survives by chance. */
  async cutPower(): Promise<PowerCut[]> {
    for (const server of this.#disks) server.disconnect();
    await this.#end('SIGKILL');
    return this.#disks.map(({ disk }) => disk.cutPower(this.#random));
  }

  /** An orderly shutdown. */
  async shutDown(): Promise<void> {
    const qemu = this.#qemu;
    if (!qemu) return;
    const gone = once(qemu, 'exit');
    await this.must('systemd-run --no-block --quiet systemctl poweroff');
    const timer = new AbortController();
    const late = await Promise.race([
      gone.then(() => false),
      sleep(SHUTDOWN_TIMEOUT_MS, true, { signal: timer.signal }),
    ]);
    timer.abort();
    if (late) {
      await this.#end('SIGKILL');
      throw this.failure(`${this.name} did not shut down within ${SHUTDOWN_TIMEOUT_MS / 1000} s`);
    }
    await this.#end('SIGKILL');
  }

  /** An orderly reboot; resolves when scripts can run again. */
  async reboot(options: BootOptions = {}): Promise<void> {
    await this.shutDown();
    await this.boot(options);
  }

  /** Switches it off hard and gives everything back. The directory stays when the machine failed. */
  async close(): Promise<void> {
    if (this.#failed && this.#agent) await this.#keepJournal();
    await this.#end('SIGKILL');
    const errors = this.#disks.reduce((sum, server) => sum + server.errors, 0);
    await Promise.all(this.#disks.map((server) => server.close()));
    if (this.#failed) {
      await rm(join(this.directory, CHECKOUT), { force: true });
      for (const { disk } of this.#disks) await rm(disk.path, { force: true });
    } else {
      await rm(this.directory, { recursive: true, force: true });
    }
    if (errors > 0) throw new Error(`the disks of ${this.name} answered ${errors} requests with an error`);
  }

  #command(port: string, { clockS }: BootOptions): string[] {
    const { image, memoryMib = 1024, cpus = 1, slots } = this.#options;
    const variables = join(this.directory, VARIABLES);
    return qemuCommand({
      ...{ memoryMib, cpus, port, consolePath: this.consolePath },
      disks: this.#disks.map(({ disk }) => disk.path.replace(/\.img$/, '.nbd')),
      ...(this.#options.hasCheckout && {
        readOnlyDisk: { path: join(this.directory, CHECKOUT), serial: CHECKOUT_SERIAL },
      }),
      ...(this.link && { link: this.link }),
      ...((this.#options.hasFirmware || slots) && { firmware: { program: FIRMWARE, variables } }),
      ...(!slots && {
        boots: { ...image, words: [...this.words, ...(clockS === undefined ? [] : [`machine.clock=${clockS}`])] },
      }),
    });
  }

  async #connect(port: string): Promise<void> {
    const deadline = performance.now() + SOCKET_TIMEOUT_MS;
    while (!existsSync(port)) {
      if (performance.now() > deadline) throw new Error('qemu opened no port for the agent');
      await sleep(20);
    }
    this.#agent = new Agent(port);
    await this.#agent.ready;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#isEnding = true;
    try {
      await this.#endQemu(signal);
      // A reboot that was under way does not get far.
      await this.#booting?.catch(() => undefined);
    } finally {
      this.#booting = undefined;
      this.#isEnding = false;
    }
  }

  async #endQemu(signal: NodeJS.Signals): Promise<void> {
    this.#agent?.close();
    this.#agent = undefined;
    const qemu = this.#qemu;
    if (!qemu || qemu.exitCode !== null || qemu.signalCode !== null) {
      this.#qemu = undefined;
      return;
    }
    const gone = once(qemu, 'exit');
    qemu.kill(signal);
    await gone;
    this.#qemu = undefined;
  }

  async #keepJournal(): Promise<void> {
    const journal = await this.#agent?.run('journalctl --no-pager', { timeoutS: 30 }).catch(() => undefined);
    if (journal) await writeFile(join(this.directory, 'journal.log'), journal.output);
  }

  /** What went wrong was wanted: nothing of it is kept. */
  forgetFailure(): void {
    this.#failed = false;
  }

  /** Keeps console and journal, also those of later boots; answers where they are. */
  async keepTraces(): Promise<string> {
    this.#failed = true;
    await this.#keepJournal();
    return `console and journal of ${this.name}: ${this.directory}`;
  }

  /** An error that says where to look; from now on the directory is kept. For what tests find wrong with the machine, too. */
  failure(message: string): Error {
    this.#failed = true;
    const console = existsSync(this.consolePath) ? readFileSync(this.consolePath, 'utf8') : '';
    const tail = console.split('\n').slice(-CONSOLE_TAIL_LINES).join('\n');
    return new Error(`${message}\nconsole and journal: ${this.directory}\n${tail}`);
  }
}

function wordsOf(options: MachineOptions, machineId: string, link: Link | undefined): string[] {
  return kernelWords({
    ...{ machineId, name: options.name ?? 'machine', more: options.kernelWords ?? [] },
    mode: options.readOnlyRoot || options.slots ? 'ro' : 'rw',
    hasSlots: options.slots !== undefined,
    ...(link && { network: `eth0,${link.address},${options.network!.hostAddress}` }),
  });
}

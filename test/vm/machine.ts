/**
 * A virtual machine for tests: boots in about fifteen seconds without hardware virtualisation, runs scripts, loses its
 * power, boots again. Whatever happens, its qemu ends with the test, and its console is kept where a failure names it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Agent, type ScriptOptions, type ScriptResult } from './agent.ts';
import { Disk, type PowerCut } from './disk.ts';
import { type MachineImage, makeFileSystem } from './image.ts';
import { DiskServer } from './nbd.ts';
import type { Link, MachineNetwork } from './network.ts';

const run = promisify(execFile);

/** Twelve seconds when nobody else needs the processor. */
const BOOT_TIMEOUT_MS = 150_000;
const SHUTDOWN_TIMEOUT_MS = 150_000;
const SOCKET_TIMEOUT_MS = 10_000;
const CONSOLE_TAIL_LINES = 40;
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
  /** For the kernel's command line. */
  readonly kernelWords?: readonly string[];
  readonly network?: MachineNetwork;
  readonly readOnlyRoot?: boolean;
  /** Boots by UEFI firmware, whose variables last as long as the machine; some seconds slower. */
  readonly hasFirmware?: boolean;
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

const DEFAULT_DATA_BYTES = 1024 ** 3;

/** Debian's `ovmf`: the program, and a store of variables to begin with. */
const FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const VARIABLES = 'variables.fd';
const FIRMWARE_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';

export class Machine {
  /** Console and sockets; removed by `close` unless the machine failed. */
  readonly directory: string;
  readonly name: string;
  readonly link: Link | undefined;
  readonly #options: MachineOptions;
  readonly #machineId = randomBytes(16).toString('hex');
  readonly #disks: readonly DiskServer[];
  readonly #random: () => number;
  #qemu: ChildProcess | undefined;
  #agent: Agent | undefined;
  #boots = 0;
  #failed = false;

  private constructor(
    directory: string,
    options: MachineOptions,
    disks: readonly DiskServer[],
    link: Link | undefined,
  ) {
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
    const root = join(directory, 'root.img');
    const data = join(directory, 'data.img');
    await run('cp', ['--sparse=always', options.image.rootDisk, root]);
    await putFiles(root, options.files ?? {}, directory);
    const quotas = ['-m', '0', '-O', 'quota,project', '-E', 'quotatype=usrquota:prjquota', '-I', '256'];
    await makeFileSystem(data, options.dataBytes ?? DEFAULT_DATA_BYTES, ['-L', 'aos-var', ...quotas]);
    const paths = [root, data];
    if (options.blankDiskBytes !== undefined) {
      const blank = join(directory, 'blank.img');
      await writeFile(blank, '');
      await truncate(blank, options.blankDiskBytes);
      paths.push(blank);
    }
    const disks = await Promise.all(
      paths.map((path) => DiskServer.listen(new Disk(path), `${path.slice(0, -'.img'.length)}.nbd`)),
    );
    if (options.hasFirmware) await run('cp', [FIRMWARE_VARIABLES, join(directory, VARIABLES)]);
    const link = await options.network?.addLink();
    return new Machine(directory, options, disks, link);
  }

  /** The console of the present boot. */
  get consolePath(): string {
    return join(this.directory, `console-${this.#boots}.log`);
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
    const log = openSync(join(this.directory, 'qemu.log'), 'a');
    const [program, ...words] = [...(this.#options.network?.enter ?? []), ...this.#command(port, options)];
    // Dies with us, also when we are killed: no machine outlives its test.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', program!, ...words], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#qemu = qemu;
    const ended = once(qemu, 'exit').then(() => {
      this.#qemu = undefined;
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
      await this.#end('SIGKILL');
      throw this.failure(`${this.name} did not boot: ${(error as Error).message}`);
    } finally {
      timer.abort();
    }
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
      const { status, stdout, stderr } = await this.run(script);
      if (status === 0) return stdout;
      if (performance.now() > deadline) {
        throw this.failure(`${this.name}: it never came about that ${what}:\n${stdout}${stderr}`);
      }
      await sleep(250);
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
      for (const { disk } of this.#disks) await rm(disk.path, { force: true });
    } else {
      await rm(this.directory, { recursive: true, force: true });
    }
    if (errors > 0) throw new Error(`the disks of ${this.name} answered ${errors} requests with an error`);
  }

  #command(port: string, { clockS }: BootOptions): string[] {
    const { image, memoryMib = 1024, cpus = 2, readOnlyRoot = false } = this.#options;
    const disks = this.#disks.flatMap(({ disk }, index) => [
      '-blockdev',
      `driver=nbd,node-name=disk${index},server.type=unix,server.path=${disk.path.replace(/\.img$/, '.nbd')}`,
      '-device',
      `virtio-blk-pci,drive=disk${index},write-cache=on`,
    ]);
    const link = this.link
      ? [
          ...['-netdev', `tap,id=link,ifname=${this.link.device},script=no,downscript=no`],
          ...['-device', `virtio-net-pci,netdev=link,mac=${this.link.mac},romfile=`],
        ]
      : ['-nic', 'none'];
    const firmware = this.#options.hasFirmware
      ? [FIRMWARE, join(this.directory, VARIABLES)].flatMap((path, index) => [
          '-drive',
          `if=pflash,format=raw,unit=${index},readonly=${index === 0 ? 'on' : 'off'},file=${path}`,
        ])
      : [];
    const words = [
      'console=ttyS0',
      readOnlyRoot ? 'ro' : 'rw',
      'quiet',
      // A panic ends qemu at once instead of standing still.
      'panic=-1',
      'mitigations=off',
      // Without hardware virtualisation the kernel mistrusts the one clock that costs nothing to read.
      'tsc=reliable',
      'no_timer_check',
      'cryptomgr.notests',
      'audit=0',
      'apparmor=0',
      'net.ifnames=0',
      ...(this.#options.kernelWords ?? []),
      `systemd.machine_id=${this.#machineId}`,
      `systemd.hostname=${this.name}`,
      ...(clockS === undefined ? [] : [`machine.clock=${clockS}`]),
      ...(this.link ? [`machine.network=eth0,${this.link.address},${this.#options.network!.hostAddress}`] : []),
    ];
    return [
      'qemu-system-x86_64',
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
      ...['-smp', String(cpus), '-m', String(memoryMib)],
      ...['-display', 'none', '-monitor', 'none', '-no-reboot', '-serial', `file:${this.consolePath}`],
      ...firmware,
      ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', words.join(' ')],
      ...disks,
      ...link,
      ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
      ...['-chardev', `socket,id=agent,path=${port},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=org.aos.agent'],
    ];
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

/** Copies `$2` into the file system of the image `$1`, mounted at `$3` for this process alone. */
const PUT = 'mount -o loop "$1" "$3" && cp -r "$2/." "$3"';

async function putFiles(
  disk: string,
  files: Readonly<Record<string, string | Buffer>>,
  directory: string,
): Promise<void> {
  if (Object.keys(files).length === 0) return;
  const from = join(directory, 'files');
  const mountPoint = join(directory, 'mnt');
  await mkdir(mountPoint);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(from, path)), { recursive: true });
    await writeFile(join(from, path), content);
  }
  const inOwnMounts = ['--mount', '--propagation=private', 'sh', '-eu', '-c', PUT, 'put'];
  await run('unshare', [...inOwnMounts, disk, from, mountPoint]);
  await rm(mountPoint, { recursive: true });
  await rm(from, { recursive: true });
}

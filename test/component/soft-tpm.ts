/**
 * A TPM 2.0 in software, its resource manager and its PKCS#11 library: what a board with a TPM chip has. A TPM holds
 * three objects at a time, so nobody can do without a manager: the kernel's (`/dev/tpmrm0`) on a board, tpm2-abrmd here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { debianEnvironment, debianProgram } from '../../devenv/debian-programs.ts';

const LIBRARY_PLACES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  (triplet) => `/usr/lib/${triplet}/pkcs11/libtpm2_pkcs11.so`,
);
const PROGRAMS = ['/usr/bin/swtpm', '/usr/bin/dbus-daemon'] as const;
const PORT_TRIES = 50;
const START_TIMEOUT_MS = 20_000;

/** The PKCS#11 library of TPMs. Throws with the packages to install. */
export function tpmLibrary(): string {
  const library = LIBRARY_PLACES.find((place) => existsSync(place));
  if (library !== undefined && PROGRAMS.every((program) => existsSync(program))) return library;
  throw new Error('apt-get install swtpm libtss2-tcti-tabrmd0 libtpm2-pkcs11-1 dbus-daemon dbus-bin');
}

export class SoftTpm {
  /** What programs that use it need in their environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[], env: Readonly<Record<string, string>>) {
    this.#children = children;
    this.env = env;
  }

  /** Starts one that keeps its secrets in the directory. */
  static async start(directory: string): Promise<SoftTpm> {
    const state = join(directory, 'tpm-state');
    const store = join(directory, 'tpm-store');
    await mkdir(state, { recursive: true });
    await mkdir(store, { recursive: true });
    const port = await freePortPair();
    const bus = `unix:path=${join(directory, 'bus')}`;
    const children: ChildProcess[] = [];
    const start = (words: readonly string[], env: Readonly<Record<string, string>> = {}) => {
      const [program, ...rest] = words;
      const environment = { PATH: process.env.PATH, ...env };
      // Dies with us, also when we are killed.
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', program!, ...rest], { stdio: 'ignore', env: environment });
      children.push(child);
      return child;
    };
    const tpm = new SoftTpm(children, {
      TPM2_PKCS11_TCTI: 'tabrmd:bus_type=session',
      TPM2_PKCS11_STORE: store,
      DBUS_SESSION_BUS_ADDRESS: bus,
    });
    try {
      const channels = ['--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`];
      const flags = ['--tpm2', '--tpmstate', `dir=${state}`, '--flags', 'not-need-init,startup-clear'];
      await until(start([PROGRAMS[0], 'socket', ...flags, ...channels]), () => canConnect({ port: port + 1 }));
      const socket = join(directory, 'bus');
      await until(start([PROGRAMS[1], '--session', '--nofork', '--nopidfile', `--address=${bus}`]), () =>
        canConnect({ path: socket }),
      );
      const tcti = `--tcti=swtpm:host=127.0.0.1,port=${port}`;
      const manager = start([debianProgram('/usr/sbin/tpm2-abrmd'), '--session', '--allow-root', tcti], {
        ...debianEnvironment(),
        DBUS_SESSION_BUS_ADDRESS: bus,
      });
      await until(manager, () => isOwned(bus));
    } catch (error) {
      await tpm.stop();
      throw error;
    }
    return tpm;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
  }
}

/** Its library looks for the control channel at the next port. */
async function freePortPair(): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES; tries += 1) {
    const first = createServer().listen(0, '127.0.0.1');
    await once(first, 'listening');
    const { port } = first.address() as { port: number };
    const second = createServer().listen(port + 1, '127.0.0.1');
    const free = await answered(once(second, 'listening'), once(second, 'error'));
    first.close();
    second.close();
    if (free) return port;
  }
  throw new Error('there are no two free ports beside each other');
}

/** True when the first comes, false when the second does. */
function answered(good: Promise<unknown>, bad: Promise<unknown>): Promise<boolean> {
  return Promise.race([good.then(() => true), bad.then(() => false)]).catch(() => false);
}

async function canConnect(where: { readonly port: number } | { readonly path: string }): Promise<boolean> {
  const socket = 'path' in where ? connect(where.path) : connect(where.port, '127.0.0.1');
  const open = await answered(once(socket, 'connect'), once(socket, 'error'));
  socket.destroy();
  return open;
}

/** True when the manager is on the bus. */
async function isOwned(bus: string): Promise<boolean> {
  const words = ['--dest=org.freedesktop.DBus', '--print-reply', '/', 'org.freedesktop.DBus.NameHasOwner'];
  const ask = spawn('dbus-send', [`--bus=${bus}`, ...words, 'string:com.intel.tss2.Tabrmd'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  ask.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(ask, 'close');
  return text.includes('boolean true');
}

async function until(child: ChildProcess, isReady: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) break;
    if (await isReady()) return;
    await sleep(20);
  }
  throw new Error(`${child.spawnargs.join(' ')} did not start`);
}

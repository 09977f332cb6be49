/** Bare containers by the programs that others use, one after the other by a shell, without anything around them. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cgroups } from '../src/platform/cgroup/index.ts';
import { findProgram } from '../src/platform/oci-runtime/index.ts';

const CONFIGURATION = 'config.json';

interface Rival {
  readonly name: string;
  /** Shell words that start, and that remove, container `$i`. */
  readonly start: string;
  readonly remove: string;
  /** It takes long: not asked for more. */
  readonly most: number;
}

export class Rivals {
  readonly all: readonly Rival[];
  readonly #cgroups = new Cgroups();
  readonly #cgroup = `/aos-bench-${randomUUID()}`;

  private constructor(all: readonly Rival[]) {
    this.all = all;
  }

  /** Those that this host has; podman only where somebody has installed it, or `AOS_BENCH_PODMAN` says where it is. */
  static async create(directory: string, memory: string, most: number): Promise<Rivals> {
    const root = join(directory, 'bare-root');
    mkdirSync(join(root, 'bin'), { recursive: true });
    copyFileSync('/bin/busybox', join(root, 'bin', 'sleep'));
    const all: Rival[] = [];
    const rivals = new Rivals(all);
    for (const name of ['crun', 'runc']) {
      if ((await findProgram(name)) === undefined) continue;
      const bundles = join(memory, `bare-${name}`);
      rivals.#writeBundles(bundles, root, name, most);
      const program = `${name} --root ${memory}/state-${name}`;
      all.push({
        name: `${name} run -d`,
        start: `${program} run -d -b ${bundles}/$i bench-$i`,
        remove: `${program} delete -f bench-$i`,
        most: Number.POSITIVE_INFINITY,
      });
    }
    const podman = process.env.AOS_BENCH_PODMAN ?? (await findProgram('podman'));
    if (podman !== undefined) {
      const own = ['root', 'runroot', 'tmpdir'].map((what) => `--${what} ${memory}/podman-${what}`).join(' ');
      const program = `${podman} ${own} --storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime crun`;
      const plain = '--network none --ulimit host';
      all.push({
        name: 'podman run -d',
        start: `${program} run -d ${plain} --name bench-$i --rootfs ${root} /bin/sleep 1000`,
        remove: `${program} rm -f -t 0 bench-$i`,
        most: 20,
      });
    }
    return rivals;
  }

  start(rival: Rival, count: number): void {
    this.#each(rival.start, count);
  }

  remove(rival: Rival, count: number): void {
    this.#each(rival.remove, count);
  }

  close(): void {
    this.#cgroups.remove(this.#cgroup);
  }

  /** In a mount namespace where crun does not mind the cgroups of the host. */
  #each(words: string, count: number): void {
    const { layout } = this.#cgroups;
    const hide = layout.version === 1 && layout.unified ? `umount ${layout.unified};` : '';
    const script = `set -e; ${hide} for i in $(seq 0 ${count - 1}); do ${words}; done`;
    execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  /** What the runtime's own `spec` writes, with the command of our instances. */
  #writeBundles(directory: string, root: string, runtime: string, count: number): void {
    mkdirSync(directory);
    execFileSync(runtime, ['spec'], { cwd: directory });
    const config = JSON.parse(readFileSync(join(directory, CONFIGURATION), 'utf8'));
    config.process = { ...config.process, terminal: false, args: ['/bin/sleep', '1000'] };
    config.root = { path: root, readonly: true };
    for (let index = 0; index < count; index += 1) {
      const bundle = join(directory, String(index));
      mkdirSync(bundle);
      config.linux.cgroupsPath = `${this.#cgroup}/${runtime}-${index}`;
      writeFileSync(join(bundle, CONFIGURATION), JSON.stringify(config));
    }
  }
}

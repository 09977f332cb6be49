/** Mounts that exist only in memory: for tests of what mounts, and the second subject of the suite. */
import { stat } from 'node:fs/promises';
import { AosError, asAosError, throwIfCanceled } from '../../core/index.ts';
import { fstabLine, type HostMount, type MountedEntry } from './host-mount.ts';
import type { Mounts, Outcomes } from './mounts.ts';

export class FakeMounts implements Mounts {
  /** In order of mounting. */
  readonly mounted: HostMount[] = [];
  /** How often a helper would have run. */
  calls = 0;

  async mountAll(mounts: readonly HostMount[], signal: AbortSignal): Promise<Outcomes> {
    throwIfCanceled(signal);
    if (mounts.length === 0) return [];
    this.calls += 1;
    return Promise.all(mounts.map((mount) => this.#mount(mount)));
  }

  async unmountAll(targets: readonly string[], signal: AbortSignal): Promise<Outcomes> {
    throwIfCanceled(signal);
    this.calls += 1;
    for (let index = this.mounted.length - 1; index >= 0; index -= 1) {
      if (targets.includes(this.mounted[index]!.target)) this.mounted.splice(index, 1);
    }
    return targets.map(() => undefined);
  }

  async listBelow(directory: string): Promise<MountedEntry[]> {
    return this.mounted
      .filter(({ target }) => target === directory || target.startsWith(`${directory}/`))
      .map(({ target, type, source }) => ({ target, type, source }));
  }

  async #mount(mount: HostMount): Promise<AosError | undefined> {
    try {
      fstabLine(mount);
      const lower = mount.options.find((option) => option.startsWith('lowerdir='))?.slice('lowerdir='.length);
      for (const path of [mount.target, ...(lower === undefined ? [mount.source] : lower.split(':'))]) await stat(path);
      this.mounted.push(mount);
      return undefined;
    } catch (error) {
      return asAosError(error, `cannot mount ${mount.target}`).code === 'invalidArgument'
        ? asAosError(error)
        : new AosError('runtime', `cannot mount ${mount.target}: ${String(error)}`);
    }
  }
}

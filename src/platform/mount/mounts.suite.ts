/** What every `Mounts` must do; real and fake pass the same. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { overlayMount, readOnlyBind } from './host-mount.ts';
import type { Mounts } from './mounts.ts';

/** `isReal`: what is mounted can be seen in the file system. */
export function mountSuite(name: string, make: () => Mounts, isReal: boolean): void {
  describe(name, () => {
    const signal = new AbortController().signal;
    let mounts: Mounts;
    let work: string;
    const at = (path: string) => join(work, path);

    beforeEach(async () => {
      mounts = make();
      work = await mkdtemp(join(tmpdir(), 'aos mounts-'));
      for (const directory of ['upper', 'lower', 'one', 'two', 'three', 'with space#tab\t']) await mkdir(at(directory));
      await writeFile(at('upper/file'), 'upper');
      await writeFile(at('lower/file'), 'lower');
      await writeFile(at('lower/other'), 'other');
    });
    afterEach(async () => {
      const left = (await mounts.listBelow(work)).map(({ target }) => target);
      expect(await mounts.unmountAll(left, signal)).toEqual(left.map(() => undefined));
      expect(await mounts.listBelow(work)).toEqual([]);
      await rm(work, { recursive: true, force: true });
    });

    test('many mounts are made by one call, and listed', async () => {
      const outcomes = await mounts.mountAll(
        [overlayMount(at('one'), [at('upper'), at('lower')]), readOnlyBind(at('two'), at('lower'))],
        signal,
      );
      expect(outcomes).toEqual([undefined, undefined]);
      expect((await mounts.listBelow(work)).map(({ target }) => target).sort()).toEqual([at('one'), at('two')]);
      if (!isReal) return;
      expect(await readFile(at('one/file'), 'utf8')).toBe('upper');
      expect(await readFile(at('one/other'), 'utf8')).toBe('other');
      expect(await readFile(at('two/file'), 'utf8')).toBe('lower');
      for (const path of ['one/new', 'two/new']) await expect(writeFile(at(path), '')).rejects.toThrow(/EROFS/);
    });

    test('what fails says which and why, and does not hold up the others', async () => {
      const outcomes = await mounts.mountAll(
        [
          readOnlyBind(at('missing'), at('lower')),
          readOnlyBind(at('one'), at('lower')),
          overlayMount(at('two'), [at('absent'), at('lower')]),
        ],
        signal,
      );
      expect(isAosError(outcomes[0], 'runtime')).toBe(true);
      expect(outcomes[0]?.message).toContain(`cannot mount ${at('missing')}: `);
      expect(outcomes[1]).toBeUndefined();
      expect(outcomes[2]?.message).toContain(at('two'));
      expect((await mounts.listBelow(work)).map(({ target }) => target)).toEqual([at('one')]);
    });

    test('names with spaces and other signs are mounted as they are; what a table cannot hold is refused', async () => {
      const strange = at('with space#tab\t');
      const outcomes = await mounts.mountAll(
        [readOnlyBind(strange, at('lower')), readOnlyBind(at('one'), at('new\nline'))],
        signal,
      );
      expect(outcomes[0]).toBeUndefined();
      expect(isAosError(outcomes[1], 'invalidArgument')).toBe(true);
      expect((await mounts.listBelow(work)).map(({ target }) => target)).toEqual([strange]);
    });

    test('unmounting what is not mounted, or mounted over itself, ends with nothing mounted', async () => {
      await mounts.mountAll([readOnlyBind(at('one'), at('lower'))], signal);
      await mounts.mountAll([readOnlyBind(at('one'), at('upper'))], signal);
      expect(await mounts.unmountAll([at('one'), at('two'), at('nowhere')], signal)).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      expect(await mounts.listBelow(work)).toEqual([]);
    });

    test('a mount does not begin for a signal that has aborted', async () => {
      const canceled = mounts.mountAll([readOnlyBind(at('one'), at('lower'))], AbortSignal.abort());
      await expect(canceled).rejects.toSatisfy((error) => isAosError(error, 'canceled'));
    });
  });
}

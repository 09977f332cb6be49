/** What is given back of an instance, and in which order. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { Slots } from '../slots.ts';
import { Bundle } from './bundle.ts';
import type { InstanceParts } from './instance-parts.ts';
import { InstanceRemains } from './instance-remains.ts';
import { UNMEASURED } from './prepare-bundle.ts';

describe('[SM-18] remains of an instance', () => {
  let directory: string;
  let bundle: Bundle;
  let log: string[];
  /** What cannot be done. */
  let broken: Set<string>;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-remains-'));
    bundle = new Bundle(directory, 'id');
    bundle.create();
    log = [];
    broken = new Set();
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const does = (what: string) => {
    log.push(`${what}, bundle ${existsSync(bundle.dir) ? 'there' : 'gone'}`);
    if (broken.has(what)) throw new AosError('runtime', `no ${what}`);
  };

  function remains({
    slots = new Slots(1),
    removed = async () => does('container'),
    processes = [] as readonly number[],
  } = {}): InstanceRemains {
    const parts = {
      roots: { prepare: async () => expect.fail(), remove: async () => does('root') },
      engine: { remove: removed, forget: async () => does('record') },
      cgroups: { kill: () => does('kill'), processes: () => processes, remove: () => does('cgroup') },
      endSlots: slots,
      logger: silentLogger,
      measure: UNMEASURED,
    };
    return new InstanceRemains(parts as unknown as InstanceParts, bundle);
  }

  test('the root goes before the bundle in which it is mounted', async () => {
    await remains().giveBack();
    expect(log).toEqual(['root, bundle there']);
    expect(existsSync(bundle.dir)).toBe(false);
  });

  test('a root that stays keeps its bundle: what is mounted must not be emptied', async () => {
    broken.add('root');
    await expect(remains().giveBack()).rejects.toThrow('no root');
    expect(existsSync(bundle.dir)).toBe(true);
    await remains().giveBackWhatCan();
    expect(existsSync(bundle.dir)).toBe(true);
  });

  test('a runtime that does not do its part is the answer, and nothing stays all the same', async () => {
    expect(await remains().removeInTurn()).toBeUndefined();
    broken.add('container');
    expect(await remains().removeInTurn()).toMatchObject({ message: 'no container' });
    expect(log.map((line) => line.split(',')[0])).toEqual(['container', 'container', 'kill', 'cgroup', 'record']);
  });

  test('of one that has ended its runtime is not asked, unless somebody is left in its cgroup or the kernel holds it', async () => {
    await writeFile(join(bundle.exitDir, 'id'), '137');
    expect(await remains().removeInTurn()).toBeUndefined();
    expect(log.splice(0)).toEqual(['cgroup, bundle there', 'record, bundle there']);
    expect(await remains({ processes: [4711] }).removeInTurn()).toBeUndefined();
    broken.add('cgroup');
    expect(await remains().removeInTurn()).toBeUndefined();
    expect(log.map((line) => line.split(',')[0])).toEqual(['container', 'cgroup', 'container']);
  });

  test('a removal that hangs does not hold up those that wait for their turn', async () => {
    const hang = Promise.withResolvers<void>();
    const slots = new Slots(1);
    const first = remains({ slots, removed: () => hang.promise }).removeInTurn();
    expect(await remains({ slots }).removeInTurn()).toBeUndefined();
    hang.reject(new AosError('timeout', 'crun did not end'));
    expect(await first).toMatchObject({ message: 'crun did not end' });
  });

  test('what stays in spite of it is thrown where something can be done about it, else told', async () => {
    for (const what of ['container', 'cgroup']) broken.add(what);
    await expect(remains().removeInTurn()).rejects.toThrow('no cgroup');
    await expect(remains().clearContainer(new AbortController().signal)).rejects.toThrow('no cgroup');
    await remains().dropContainer();
  });
});

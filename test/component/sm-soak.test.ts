/** A short soak of aos-sm with real containers; `npm run soak` goes on for longer. */
import { rm } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { leaksOf, soakSm } from '../../scripts/soak/soak-sm.ts';
import { buildSm, SmNode } from './sm-node.ts';

const STORY_MS = 180_000;
const MIB = 1024 * 1024;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;

beforeAll(async () => {
  built = await buildSm();
}, STORY_MS);

afterAll(() => rm(built.directory, { recursive: true, force: true }));

// A node for each attempt: one that failed leaves instances behind.
beforeEach(async () => {
  node = await SmNode.create(built.bundle, {}, { hasOwnNetwork: true });
  await node.start();
}, STORY_MS);

afterEach(() => node.close(), STORY_MS);

test(
  '[R-07] starts, updates, crashes and stops end with the processes, namespaces, mounts, cgroups, links, firewall rules, descriptors, disk and memory before',
  async () => {
    const result = await soakSm(node, { warmUp: 4, cycles: 8, instances: 4 });
    const { before, during } = result;
    for (const what of ['processes', 'namespaces', 'mounts', 'cgroups', 'links', 'rules', 'files'] as const) {
      expect(during[what], what).toBeGreaterThan(before[what]);
    }
    expect(before).toMatchObject({ namedNamespaces: 0, cgroups: 0 });
    // So short a run tells little of memory; what is told is that a cycle does not keep megabytes.
    expect(leaksOf(result, { memory: 8 * MIB, disk: MIB })).toEqual([]);
  },
  STORY_MS,
);

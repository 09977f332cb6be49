import { afterEach, expect, test, vi } from 'vitest';
import { TidyMemory } from './tidy-memory.ts';

let tidy: TidyMemory | undefined;
afterEach(() => tidy?.stop());

/** More garbage than the young generation holds, so that V8 collects at least once. */
function work(): void {
  let kept: number[][] = [];
  for (let round = 0; round < 2000; round += 1) {
    kept.push(new Array(4000).fill(round));
    if (kept.length > 10) kept = [];
  }
}

test('[B-03] what work left behind is collected when the work is over, and not again without new work', async () => {
  let collections = 0;
  tidy = new TidyMemory({ quietMs: 20, worthBytes: -Infinity, collect: () => (collections += 1) });
  tidy.start();
  await vi.waitUntil(() => collections === 1);
  work();
  await vi.waitUntil(() => collections >= 2);
});

test('[B-03] growth that is not worth a pause is left alone', async () => {
  const collect = vi.fn();
  tidy = new TidyMemory({ quietMs: 1, worthBytes: Infinity, collect });
  tidy.start();
  work();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(collect).not.toHaveBeenCalled();
});

test('[B-03] what V8 has freed is given back after each collection', async () => {
  const done: string[] = [];
  tidy = new TidyMemory({
    ...{ quietMs: 1, worthBytes: -Infinity },
    collect: () => done.push('collected'),
    giveBack: () => done.push('given back'),
  });
  tidy.start();
  await vi.waitUntil(() => done.length === 2);
  expect(done).toEqual(['collected', 'given back']);
});

test("[B-03] V8's own collector frees what nobody holds", async () => {
  const gone = vi.fn();
  const registry = new FinalizationRegistry(gone);
  registry.register({ big: new Array(1000).fill(0) }, 'it');
  tidy = new TidyMemory({ quietMs: 1, worthBytes: -Infinity });
  tidy.start();
  await vi.waitFor(() => expect(gone).toHaveBeenCalledWith('it'), { timeout: 10_000 });
});

/** What the stories in virtual machines share: images, programs that run inside, traces of a failure. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterEach, inject } from 'vitest';
import type { MachineImage } from './image.ts';
import type { Machine } from './machine.ts';

const PROGRAMS = join(import.meta.dirname, 'programs');
const ES_BUNDLE_NEEDS =
  "import { createRequire as createRequireOfBundle } from 'node:module';const require = createRequireOfBundle(import.meta.url);";

/** Debian without aoscore. */
export function bareImage(): MachineImage {
  return inject('images').bare;
}

/** Debian with the package of this checkout. */
export function unitImage(): MachineImage {
  return inject('images').unit;
}

/** A program of `programs/` as one file, for the Node.js of a machine. */
export async function bundled(name: string): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'aos-story-'));
  try {
    const outfile = join(directory, `${name}.mjs`);
    await build({
      entryPoints: [join(PROGRAMS, `${name}.ts`)],
      ...{ outfile, bundle: true, format: 'esm', platform: 'node', target: 'node24', logLevel: 'error' },
      external: ['pkcs11js', 'koffi'],
      alias: { esbuild: join(PROGRAMS, 'no-esbuild.ts') },
      banner: { js: ES_BUNDLE_NEEDS },
    });
    return await readFile(outfile);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** When a test fails, its machines keep console and journal, and the output says where they are. */
export function keepTraces(machines: () => readonly (Machine | undefined)[]): void {
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    for (const machine of machines()) {
      if (machine) console.error(`"${task.name}" failed. ${await machine.keepTraces()}`);
    }
  });
}

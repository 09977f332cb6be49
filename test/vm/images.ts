/**
 * Makes the images before the first story, so that stories which run at the same time do not make them twice. The run
 * knows them as `images` (see fixture.ts).
 */
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { buildPackage } from '../../scripts/build-package.ts';
import { baseImage, installedImage, type MachineImage } from './image.ts';
import { removeOrphans } from './network.ts';

const ROOT = join(import.meta.dirname, '..', '..');

declare module 'vitest' {
  interface ProvidedContext {
    images: {
      /** Debian without aoscore. */
      readonly bare: MachineImage;
      /** Debian with the package of this checkout. */
      readonly unit: MachineImage;
    };
  }
}

export default async function makeImages(project: TestProject): Promise<void> {
  await removeOrphans();
  const cache = process.env.AOS_VM_CACHE ?? join(ROOT, 'build', 'vm');
  const bare = await baseImage(cache);
  const unit = await installedImage(cache, await buildPackage(ROOT, join(ROOT, 'build')));
  project.provide('images', { bare, unit });
}

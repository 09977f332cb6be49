/** Image configuration: platform, command and layers of an image (spec/oci-items.md 5). */
import * as z from 'zod';
import { MAX_LAYERS } from './image-manifest.ts';
import { NameSet, SystemText } from './scalars.ts';

/** The sum of all variables (spec/decisions.md C-53). */
const MAX_ENVIRONMENT_BYTES = 128 * 1024;

const Environment = z
  .array(SystemText)
  .refine(
    (env) => env.reduce((sum, entry) => sum + Buffer.byteLength(entry) + 1, 0) <= MAX_ENVIRONMENT_BYTES,
    'expected at most 128 KiB of environment variables',
  );

const WorkingDirectory = SystemText.transform((path) => path || '/').refine(
  (path) => path.startsWith('/'),
  'expected an absolute path',
);

/** The `config` member; `user`, `volumes` and `labels` are not used (spec/decisions.md C-54). */
export const ProcessConfig = z.object({
  /** `<port>` or `<port>/<protocol>`; take apart with `parseExposedPort`. */
  exposedPorts: NameSet.default([]),
  env: Environment.default([]),
  /** The command line is `entrypoint` followed by `cmd`. */
  entrypoint: z.array(SystemText).default([]),
  cmd: z.array(SystemText).default([]),
  workingDir: WorkingDirectory.default('/'),
  /** Name or number of the signal that asks the process to end. */
  stopSignal: SystemText.optional(),
});
export type ProcessConfig = z.output<typeof ProcessConfig>;

export const ImageConfig = z.object({
  created: z.string().optional(),
  author: z.string().default(''),
  /** Compared with the runtime's; always there, also for components. */
  architecture: z.string().min(1, 'expected the name of an architecture'),
  variant: z.string().optional(),
  os: z.string().optional(),
  'os.version': z.string().optional(),
  'os.features': z.array(z.string()).default([]),
  config: ProcessConfig.prefault({}),
  rootfs: z
    .object({
      type: z.string().default('layers'),
      /** Digest of each layer's tar; written by builders, not trusted as a key (spec/decisions.md C-56). */
      diff_ids: z.array(z.string()).max(MAX_LAYERS).default([]),
    })
    .prefault({}),
  /** What a standard builder did; decides about the order of layers (spec/decisions.md 4.1). */
  history: z.array(z.object({ empty_layer: z.boolean().default(false) })).optional(),
});
export type ImageConfig = z.output<typeof ImageConfig>;

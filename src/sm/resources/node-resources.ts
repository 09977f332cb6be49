/** The resources file of the node (spec/sm.md 11.1, spec/oci-items.md 11). */
import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { AosError, asAosError, type Logger, parseJson, readDocument } from '../../core/index.ts';
import type { OciMount, ResourceInfo } from '../model.ts';

const Text = z.string().refine((text) => !text.includes('\0'), 'expected a text without zero bytes');

const MountEntry = z
  .object({
    destination: Text.refine((path) => path.startsWith('/'), 'expected an absolute path'),
    type: Text.default(''),
    source: Text.default(''),
    options: z.array(Text).default([]),
  })
  .transform((mount): OciMount => ({ ...mount, type: mount.type || 'bind' }));

export const NodeResource = z.object({
  name: Text.min(1, 'expected the name of a resource').max(64, 'expected at most 64 characters'),
  /** How many instances may use it at once; 0: any number. The CM keeps count. */
  sharedCount: z.int().min(0).default(0),
  /** Groups of the host. */
  groups: z.array(Text).default([]),
  mounts: z.array(MountEntry).default([]),
  /** `NAME=value`. */
  envs: z.array(Text.refine((env) => env.indexOf('=') > 0, 'expected NAME=value')).default([]),
  hosts: z.array(z.object({ ip: Text, hostname: Text })).default([]),
  /** `<host path>[:<path in the container>]`. */
  devices: z.array(Text.refine((device) => device.startsWith('/'), 'expected an absolute path')).default([]),
});
export type NodeResource = z.output<typeof NodeResource>;

export const ResourcesFile = z
  .array(NodeResource)
  .refine(
    (resources) => new Set(resources.map(({ name }) => name)).size === resources.length,
    'expected names that differ from each other',
  );

export class NodeResources {
  readonly #byName: ReadonlyMap<string, NodeResource>;

  constructor(resources: readonly NodeResource[]) {
    this.#byName = new Map(resources.map((resource) => [resource.name, resource]));
  }

  /** As the CM is told of them. */
  infos(): ResourceInfo[] {
    return [...this.#byName.values()].map(({ name, sharedCount }) => ({ name, sharedCount }));
  }

  /** Throws `notFound` naming what the node lacks. */
  find(name: string): NodeResource {
    const resource = this.#byName.get(name);
    if (resource) return resource;
    throw new AosError('notFound', `this node has no resource "${name}"`, {
      fields: { resource: name, known: [...this.#byName.keys()] },
    });
  }

  /** Names that the requested resources bring into `/etc/hosts`. */
  hosts(names: readonly string[]): { readonly ip: string; readonly name: string }[] {
    return names.flatMap((name) => this.find(name).hosts.map(({ ip, hostname }) => ({ ip, name: hostname })));
  }
}

/** The reason with the name of the resource that cannot be given because of it. */
export function refuseResource({ name }: NodeResource, reason: unknown): AosError {
  const { code, message, exitCode, fields } = asAosError(reason);
  return new AosError(code, `${message} (resource "${name}")`, {
    cause: reason,
    exitCode,
    fields: { ...fields, resource: name },
  });
}

/** The resource that could not be given, when that is what the error is about. */
export function refusedResource({ fields }: AosError): string | undefined {
  return typeof fields.resource === 'string' ? fields.resource : undefined;
}

/** A missing file is a node without resources. Throws `invalidArgument` naming the entry and what is wrong with it. */
export async function loadNodeResources(path: string, logger: Logger): Promise<NodeResources> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asAosError(error, `cannot read ${path}`);
    logger.warn({ path }, 'there is no resources file: instances that ask for a resource cannot run on this node');
    return new NodeResources([]);
  }
  const { value, warnings } = readDocument(ResourcesFile, parseJson(text, path), { what: path, once: true });
  for (const warning of warnings) logger.warn({ path }, warning);
  return new NodeResources(value);
}

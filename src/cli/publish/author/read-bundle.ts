/** Author files of schemaVersion 2: a bundle of items (spec/product.md 4.3). Pure. */
import * as z from 'zod';
import { readDocument } from '../../../core/index.ts';
import { splitCommand } from './amounts.ts';
import type { AuthorImage, AuthorItem } from './author-item.ts';
import { Command, Duration, defaultsOf, Instances, nameSet, Permissions, RunParameters, said } from './shared.ts';

const Identity = z.object({
  id: z.string().optional(),
  codename: z.string().optional(),
  type: z.string().optional(),
  title: z.string().optional(),
});
type Identity = z.output<typeof Identity>;

const PercentRule = z.object({
  minTimeout: Duration.optional(),
  minThreshold: z.number().optional(),
  maxThreshold: z.number().optional(),
});

const Process = {
  env: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  cmd: Command.optional(),
};

const Image = z.object({
  sourceFolder: z.string().optional(),
  path: z.string().optional(),
  mediaType: z.string().optional(),
  osInfo: z
    .object({
      os: z.string().default('linux'),
      version: z.string().optional(),
      features: z.array(z.string()).optional(),
    })
    .prefault({}),
  archInfo: z.object({ architecture: z.string(), variant: z.string().optional() }),
  ...Process,
});

const Quotas = z.object({
  /** DMIPS. */
  cpuLimit: z.number().optional(),
  /** Bytes. */
  ramLimit: z.number().optional(),
  storageLimit: z.number().optional(),
  stateLimit: z.number().optional(),
  tmpLimit: z.number().optional(),
  /** Bits per second. */
  uploadSpeed: z.number().optional(),
  downloadSpeed: z.number().optional(),
  /** Bytes per day. */
  uploadLimit: z.number().optional(),
  downloadLimit: z.number().optional(),
  noFileLimit: z.number().optional(),
  pidsLimit: z.number().optional(),
});

const Configuration = z.object({
  ...Process,
  instances: Instances.optional(),
  skipResourceLimits: z.boolean().optional(),
  balancingPolicy: z.string().optional(),
  baseLayerIsNodeRootfs: z.boolean().default(true),
  hostname: z.string().optional(),
  exposedPorts: z.array(z.string()).default([]),
  runtimes: z.array(z.union([z.string(), Identity])).default([]),
  runParameters: RunParameters.optional(),
  offlineTTL: Duration.optional(),
  resources: z.array(z.object({ name: z.string(), mode: z.string().default('r') })).default([]),
  allowedConnections: z.array(z.string()).default([]),
  quotas: Quotas.prefault({}),
  requestedResources: z.record(z.string(), z.number()).optional(),
  alertRules: z
    .object({
      ram: PercentRule.optional(),
      cpu: PercentRule.optional(),
      storage: PercentRule.optional(),
      upload: PercentRule.optional(),
      download: PercentRule.optional(),
    })
    .optional(),
  permissions: Permissions.optional(),
  sysctl: z.record(z.string(), z.string()).optional(),
  probes: z.unknown().optional(),
  stopTimeout: Duration.optional(),
});

const Item = z.object({
  identity: Identity,
  version: z.string().optional(),
  sourceFolder: z.string().optional(),
  images: z.array(Image).min(1, 'expected at least one image'),
  configuration: Configuration.prefault({}),
  dependencies: z.array(z.unknown()).default([]),
});
type Item = z.output<typeof Item>;

const Bundle = z.object({
  schemaVersion: z.literal(2),
  publisher: z.object({ author: z.string().optional(), company: z.string().optional() }).prefault({}),
  publish: z.unknown().optional(),
  items: z.array(Item).min(1, 'expected at least one item'),
});

/** Throws `invalidArgument` naming the fault. */
export function readBundle(document: unknown, what: string): AuthorItem[] {
  const { value, warnings } = readDocument(Bundle, document, { what });
  return value.items.map((item, index) => {
    const { identity, version, configuration } = item;
    const type = identity.type ?? 'service';
    const readType = readDocument(z.enum(['service', 'component']), type, {
      what: `${what}: items[${index}].identity.type`,
    });
    const about = index === 0 ? warnings : [];
    return {
      id: identity.id ?? identity.codename,
      title: identity.title,
      version,
      type: readType.value,
      images: item.images.map((image) => imageOf(item, image)),
      itemConfig: itemConfigOf(item, value.publisher.author),
      defaults: defaultsOf(configuration.instances),
      warnings: [...about],
    };
  });
}

function imageOf(item: Item, image: Item['images'][number]): AuthorImage {
  const { configuration, identity } = item;
  const own = item.sourceFolder ?? identity.codename ?? '.';
  const folder = image.sourceFolder ?? '';
  const command = image.cmd ?? configuration.cmd;
  const { archInfo, osInfo, path, mediaType } = image;
  return {
    platform: { ...archInfo, os: osInfo.os.toLowerCase() },
    folders: [`${own}/${folder}`, `src/${own}/${folder}`, `src/${folder}`, folder || 'src'],
    ...(path !== undefined && mediaType !== undefined && { file: { path, mediaType } }),
    config: said({
      exposedPorts: nameSet(configuration.exposedPorts),
      env: [...(configuration.env ?? []), ...(image.env ?? [])],
      cmd: command === undefined ? undefined : splitCommand(command),
      workingDir: image.workingDir ?? configuration.workingDir,
    }),
  };
}

const runtimeOf = (runtime: string | Identity) => ({
  codename: typeof runtime === 'string' ? runtime : (runtime.codename ?? runtime.id ?? ''),
});

const kilobits = (bits: number | undefined) => (bits === undefined ? undefined : Math.ceil(bits / 1000));

function itemConfigOf({ configuration, dependencies, identity }: Item, author: string | undefined) {
  const { quotas, alertRules, runtimes, ...rest } = configuration;
  const { cpuLimit, uploadSpeed, downloadSpeed, ...limits } = quotas;
  const { storage, ...rules } = alertRules ?? {};
  return said({
    author,
    skipResourceLimits: rest.skipResourceLimits,
    hostname: rest.hostname,
    balancingPolicy: rest.balancingPolicy,
    runtimes: runtimes.map(runtimeOf),
    runParameters: rest.runParameters && said(rest.runParameters),
    sysctl: rest.sysctl,
    offlineTTL: rest.offlineTTL,
    quotas: said({
      cpuDMIPSLimit: cpuLimit,
      ...limits,
      uploadSpeed: kilobits(uploadSpeed),
      downloadSpeed: kilobits(downloadSpeed),
    }),
    requestedResources: rest.requestedResources,
    allowedConnections: nameSet(rest.allowedConnections),
    resources: rest.resources,
    permissions: rest.permissions,
    alertRules: said({ ...rules, partitions: storage ? [{ name: 'storages', ...storage }] : [] }),
    stopTimeout: rest.stopTimeout,
    probes: rest.probes,
    dependencies,
    ...((identity.type ?? 'service') === 'service' && { baseLayerIsNodeRootfs: rest.baseLayerIsNodeRootfs }),
  });
}

/** The older author file: one service (spec/product.md 4.2). Pure. */
import * as z from 'zod';
import { readDocument } from '../../../core/index.ts';
import { parseSize, parseSpeed, splitCommand } from './amounts.ts';
import type { AuthorItem } from './author-item.ts';
import { Command, Duration, defaultsOf, Instances, nameSet, Permissions, RunParameters, said } from './shared.ts';

const Amount = z.union([z.string(), z.number()]);

const Alert = z.object({
  minTime: Duration.optional(),
  minTimeout: Duration.optional(),
  minThreshold: Amount.optional(),
  maxThreshold: Amount.optional(),
});

const Configuration = z.object({
  cmd: Command.optional(),
  workingDir: z.string().optional(),
  state: z.object({ filename: z.string().optional(), required: z.boolean().optional() }).optional(),
  instances: Instances.optional(),
  runParameters: RunParameters.optional(),
  runner: z.string().optional(),
  runners: z.array(z.string()).optional(),
  offlineTTL: Duration.optional(),
  downloadTTL: Duration.optional(),
  isResourceLimits: z.boolean().optional(),
  env: z.array(z.string()).default([]),
  devices: z.array(z.object({ name: z.string(), mode: z.string().optional() })).default([]),
  resources: z.array(z.string()).default([]),
  hostname: z.string().optional(),
  exposedPorts: z.array(Amount).default([]),
  allowedConnections: z.array(z.string()).default([]),
  requestedResources: z
    .object({ cpu: Amount.optional(), ram: Amount.optional(), storage: Amount.optional(), state: Amount.optional() })
    .optional(),
  quotas: z
    .object({
      cpu: Amount.optional(),
      mem: Amount.optional(),
      state: Amount.optional(),
      storage: Amount.optional(),
      upload_speed: Amount.optional(),
      download_speed: Amount.optional(),
      upload: Amount.optional(),
      download: Amount.optional(),
      temp: Amount.optional(),
      pids: z.number().optional(),
      no_file: z.number().optional(),
    })
    .prefault({}),
  alerts: z
    .object({
      ram: Alert.optional(),
      cpu: Alert.optional(),
      storage: Alert.optional(),
      upload: Alert.optional(),
      download: Alert.optional(),
    })
    .prefault({}),
  permissions: Permissions.optional(),
  layers: z.array(z.unknown()).default([]),
});
type Configuration = z.output<typeof Configuration>;

const Single = z.object({
  publisher: z.object({ author: z.string().optional(), company: z.string().optional() }).prefault({}),
  build: z
    .object({ os: z.string().default('linux'), arch: z.string().default('x86'), context: z.string().optional() })
    .loose()
    .prefault({}),
  publish: z
    .object({ service_uid: z.string().optional(), version: z.union([z.string(), z.number()]).optional() })
    .loose()
    .prefault({}),
  configuration: Configuration.prefault({}),
});

/** Other spellings of architectures; units compare with the OCI names, and with the kernel's where they are known. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  ...{ x86: 'amd64', x86_64: 'amd64', aarch64: 'arm64', arm32: 'arm' },
};

/** Throws `invalidArgument` naming the fault. */
export function readSingle(document: unknown, what: string): AuthorItem {
  const { value, warnings } = readDocument(Single, document, { what });
  const { build, publish, publisher, configuration } = value;
  const { cmd, env, exposedPorts, workingDir, instances } = configuration;
  return {
    id: publish.service_uid,
    version: publish.version === undefined ? undefined : String(publish.version),
    type: 'service',
    images: [
      {
        platform: { architecture: ARCHITECTURES[build.arch] ?? build.arch, os: build.os.toLowerCase() },
        folders: build.context === undefined ? ['src'] : [build.context, `src/${build.context}`],
        config: said({
          exposedPorts: nameSet(exposedPorts.map(String)),
          env,
          cmd: cmd === undefined ? undefined : splitCommand(cmd),
          workingDir,
        }),
      },
    ],
    itemConfig: itemConfigOf(configuration, publisher.author),
    defaults: defaultsOf(instances),
    warnings: [...warnings.filter((text) => !/"(?:build|publish)\./.test(text)), ...lost(configuration)],
  };
}

/** What the file says and no unit can be told. */
function lost({ quotas, layers, state, downloadTTL }: Configuration): string[] {
  return [
    ...(quotas.cpu === undefined
      ? []
      : [
          'quotas.cpu is ignored: it is a percentage of an unknown processor; write schemaVersion 2 with cpuLimit in DMIPS',
        ]),
    ...(layers.length > 0 ? ['layers are ignored: put the files of shared layers into the service'] : []),
    ...(state?.filename === undefined ? [] : ['state.filename is ignored: the state of an instance begins empty']),
    ...(downloadTTL === undefined
      ? []
      : ['downloadTTL is ignored: a download goes on until it is not wanted any more']),
  ];
}

function itemConfigOf(configuration: Configuration, author: string | undefined): Record<string, unknown> {
  const { alerts, devices, resources, runner, runners, isResourceLimits, requestedResources, ...rest } = configuration;
  const names = runners ?? (runner === undefined ? [] : [runner]);
  return said({
    author,
    skipResourceLimits: isResourceLimits === false ? true : undefined,
    hostname: rest.hostname,
    runtimes: names.map((codename) => ({ codename })),
    runParameters: rest.runParameters && said(rest.runParameters),
    offlineTTL: rest.offlineTTL,
    quotas: quotasOf(rest.quotas),
    requestedResources: requestedResources && sizes(requestedResources, 'requestedResources'),
    allowedConnections: nameSet(rest.allowedConnections),
    resources: [
      ...resources.map((name) => ({ name })),
      ...devices.map(({ name, mode }) => ({ name, ...(mode !== undefined && { mode }) })),
    ],
    permissions: rest.permissions,
    alertRules: said({
      ...percentRules({ ram: alerts.ram, cpu: alerts.cpu }),
      partitions: alerts.storage ? [{ name: 'storages', ...percentRule(alerts.storage) }] : [],
      ...pointRules({ upload: alerts.upload, download: alerts.download }),
    }),
    baseLayerIsNodeRootfs: true,
  });
}

function quotasOf(quotas: Configuration['quotas']): Record<string, unknown> {
  const size = (key: keyof typeof quotas) =>
    quotas[key] === undefined ? undefined : parseSize(quotas[key], `quotas.${key}`);
  const speed = (key: 'upload_speed' | 'download_speed') =>
    quotas[key] === undefined ? undefined : parseSpeed(quotas[key], `quotas.${key}`);
  return said({
    ramLimit: size('mem'),
    pidsLimit: quotas.pids,
    noFileLimit: quotas.no_file,
    tmpLimit: size('temp'),
    stateLimit: size('state'),
    storageLimit: size('storage'),
    uploadSpeed: speed('upload_speed'),
    downloadSpeed: speed('download_speed'),
    uploadLimit: size('upload'),
    downloadLimit: size('download'),
  });
}

function sizes(amounts: Readonly<Record<string, string | number | undefined>>, what: string): Record<string, number> {
  return Object.fromEntries(
    Object.entries(amounts).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, parseSize(value, `${what}.${key}`)]],
    ),
  );
}

type AlertRule = z.output<typeof Alert>;

function percentRule({ minTime, minTimeout, minThreshold, maxThreshold }: AlertRule): Record<string, unknown> {
  const percent = (value: string | number | undefined) =>
    value === undefined ? undefined : Number.parseFloat(String(value));
  return said({
    minTimeout: minTimeout ?? minTime,
    minThreshold: percent(minThreshold),
    maxThreshold: percent(maxThreshold),
  });
}

function percentRules(rules: Readonly<Record<string, AlertRule | undefined>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(rules).flatMap(([key, rule]) => (rule ? [[key, percentRule(rule)]] : [])));
}

function pointRules(rules: Readonly<Record<string, AlertRule | undefined>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(rules).flatMap(([key, rule]) => {
      if (!rule) return [];
      const { minTime, minTimeout, minThreshold, maxThreshold } = rule;
      const thresholds = sizes({ minThreshold, maxThreshold }, `alerts.${key}`);
      return [[key, said({ minTimeout: minTimeout ?? minTime, ...thresholds })]];
    }),
  );
}

/** Configuration of the SM (spec/sm.md 1.6, spec/decisions.md 6.1, 8.1). Durations in milliseconds. */
import { join } from 'node:path';
import * as z from 'zod';
import { DurationMs, MetricsListen, PeriodMs } from '../daemon/index.ts';
import { TRAFFIC_PERIODS } from './network/index.ts';

const DAY_MS = 86_400_000;

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

const Text = z.string();
const Required = z.string('expected a text').min(1, 'expected a text that is not empty');

/** Settings of one runtime; those of the plugin are read by `ContainerConfig`. */
const RuntimeConfig = z.object({
  plugin: Required,
  type: Required,
  isComponent: z.boolean().default(false),
  config: z.record(z.string(), z.unknown()).default({}),
});

/** `config` of a runtime with the plugin `container` (spec/sm.md 5.1). */
export const ContainerConfig = z.object({
  runtimeDir: Text.default('/run/aos/runtime'),
  hostWhiteoutsDir: Text.optional(),
  stateDir: Text.optional(),
  storageDir: Text.optional(),
  hostBinds: z.array(Text).default([]),
  allowUnsafeHostBinds: z.boolean().default(false),
  crunStateRoot: Text.default('/run/crun'),
  /** Absent: crun or runc, whichever works on this host. */
  crunExecutable: Text.optional(),
  /** `default`, `unconfined` or a file. */
  seccomp: Text.default('default'),
});
export type ContainerConfig = z.output<typeof ContainerConfig>;

/** A slot by device or tag; as an object also where it is, for what the host does not tell. */
const Slot = z.union([
  Required,
  z.object({
    device: Required,
    /** GUID of the partition. */
    partUuid: Text.optional(),
    number: z.int().min(1).optional(),
    /** Sectors of 512 bytes. */
    start: z.int().min(0).optional(),
    size: z.int().min(1).optional(),
  }),
]);

/** `config` of a runtime with the plugin `boot` (spec/sm.md 6.5). */
export const BootConfig = z.object({
  workingDir: Text.optional(),
  loader: Required.default('/EFI/BOOT/bootx64.efi'),
  detectMode: z.enum(['', 'auto']).default(''),
  partitions: z.array(Slot).length(2, 'expected exactly two partitions'),
  versionFile: Required.default('aos/version'),
  healthCheckServices: z.array(Text).default([]),
  /** What tells the firmware which slot to boot. */
  bootControl: z.enum(['efi', 'uboot']).default('efi'),
  efiVarsDir: Text.optional(),
  uboot: z
    .object({
      printenv: Required.default('fw_printenv'),
      setenv: Required.default('fw_setenv'),
      config: Text.optional(),
    })
    .prefault({}),
  /** Holds another text after each boot of the node. */
  bootIdFile: Required.default(BOOT_ID_FILE),
});
export type BootConfig = z.output<typeof BootConfig>;

/** `config` of a runtime with the plugin `rootfs` (spec/sm.md 6.1). */
export const RootfsConfig = z.object({
  workingDir: Text.optional(),
  versionFilePath: Required.default('/etc/aos/version'),
  healthCheckServices: z.array(Text).default([]),
  bootIdFile: Required.default(BOOT_ID_FILE),
});
export type RootfsConfig = z.output<typeof RootfsConfig>;

const Network = z.object({
  /** `full`: bridges and addresses as the CM says; `loopback`: each instance alone with its `lo`. */
  mode: z.enum(['full', 'loopback']).default('full'),
  vlan: z.enum(['auto', 'required', 'off']).default('auto'),
  ipForward: z.enum(['auto', 'off']).default('auto'),
  /** A name server in each network; `auto`: where dnsmasq is installed. */
  names: z.enum(['auto', 'required', 'off']).default('auto'),
  /** Addresses of IPv6 for instances, too, with which those of one network reach each other. */
  ipv6: z.boolean().default(false),
  /** After which limits of traffic begin anew, in UTC. */
  trafficPeriod: z.enum(TRAFFIC_PERIODS).default('day'),
});

const Priority = (fallback: number) =>
  z
    .number()
    .default(fallback)
    .transform((value) => (Number.isInteger(value) && value >= 0 && value <= 7 ? value : fallback));

export const SmConfig = z
  .object({
    caCert: Required,
    certStorage: Required,
    iamPublicServerUrl: Required,
    iamProtectedServerUrl: Required,
    cmServerUrl: Required,
    cmReconnectTimeout: PeriodMs.default(10_000),
    workingDir: Required,
    nodeConfigFile: Text.optional(),
    resourcesConfigFile: Text.default('/etc/aos/resources.cfg'),
    controlSocket: Text.default('/run/aos/sm.sock'),
    imageManager: z
      .object({
        imagePath: Text.optional(),
        /** Percent of the partition; 0: no limit. */
        imagesPartLimit: z.number().min(0).max(100).default(0),
        updateItemTtl: DurationMs.default(30 * DAY_MS),
        removeOutdatedPeriod: PeriodMs.default(DAY_MS),
      })
      .prefault({}),
    logging: z
      .object({ maxPartSize: z.number().min(1).default(262_144), maxPartCount: z.number().min(1).default(80) })
      .prefault({}),
    journalAlerts: z
      .object({
        filter: z.array(Text).default([]),
        serviceAlertPriority: Priority(4),
        systemAlertPriority: Priority(3),
      })
      .prefault({}),
    monitoring: z
      .object({ pollPeriod: PeriodMs.default(35_000), averageWindow: DurationMs.default(35_000) })
      .prefault({}),
    migration: z.unknown().optional(),
    runtimes: z.array(RuntimeConfig).default([]),
    tls: z.object({ checkHostName: z.boolean().default(true) }).prefault({}),
    /** What becomes of the services when the SM is asked to stop (spec/decisions.md 5.7). */
    stopInstances: z.enum(['auto', 'always', 'never']).default('auto'),
    /** Between the stop signal and the kill. */
    stopTimeout: DurationMs.default(5_000),
    /** Program and arguments that reboot the node. Absent: `aos-reboot.service`. */
    rebootCommand: z.tuple([Required], Text).optional(),
    network: Network.prefault({}),
    metrics: z.object({ listen: MetricsListen }).prefault({}),
  })
  .transform(({ migration: _, ...config }) => ({
    ...config,
    nodeConfigFile: config.nodeConfigFile ?? join(config.workingDir, 'aos_node.cfg'),
    imageManager: {
      ...config.imageManager,
      imagePath: config.imageManager.imagePath ?? join(config.workingDir, 'images'),
    },
  }));
export type SmConfig = z.output<typeof SmConfig>;

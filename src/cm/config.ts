/** Configuration of the CM (spec/cm.md 1.2, spec/decisions.md CM-03, 6.1, 8.1). Durations in milliseconds. */
import { join } from 'node:path';
import * as z from 'zod';
import { DurationMs, MetricsListen, PeriodMs } from '../daemon/index.ts';
import { DEFAULTS } from './numbers.ts';
import { ReleaseRule } from './updates/index.ts';

const Text = z.string();
const Required = z.string('expected a text').min(1, 'expected a text that is not empty');

const section = <S extends z.ZodRawShape>(shape: S) => z.object(shape).prefault({} as never);

export const CmConfig = z
  .object({
    caCert: Required,
    workingDir: Required,
    /** Type of the certificate that the CM shows, despite its name (spec/cm.md 1.2). */
    certStorage: Required,
    serviceDiscoveryUrl: Text.default(''),
    overrideServiceDiscoveryUrl: Text.default(''),
    cloudMessageLog: Text.default(''),
    iamProtectedServerUrl: Required,
    iamPublicServerUrl: Required,
    cmServerUrl: Required,
    fileServerUrl: Text.default('localhost:8094'),
    storageDir: Text.optional(),
    stateDir: Text.optional(),
    unitConfigFile: Text.optional(),
    dnsStoragePath: Text.default('/var/aos/dns'),
    dnsIp: Text.default(''),
    dnsPidFile: Text.optional(),
    unitStatusSendTimeout: DurationMs.default(DEFAULTS.unitStatusSendTimeoutMs),
    cloudResponseWaitTimeout: DurationMs.default(DEFAULTS.cloudResponseWaitTimeoutMs),
    monitoring: section({
      /** Parsed and not used by the CM. */
      pollPeriod: DurationMs.optional(),
      averageWindow: DurationMs.optional(),
      sendPeriod: PeriodMs.default(DEFAULTS.monitoringSendPeriodMs),
    }),
    nodeInfoProvider: section({ smConnectionTimeout: DurationMs.default(DEFAULTS.smConnectionTimeoutMs) }),
    alerts: section({ sendPeriod: PeriodMs.default(DEFAULTS.alertsSendPeriodMs) }),
    imageManager: section({
      installPath: Text.optional(),
      downloadPath: Text.optional(),
      updateItemTtl: DurationMs.default(DEFAULTS.updateItemTtlMs),
      removeOutdatedPeriod: PeriodMs.default(DEFAULTS.removeOutdatedPeriodMs),
      /** Our own: false fetches layers only for platforms that a node of the unit has (spec/decisions.md CM-21). */
      allPlatforms: z.boolean().default(true),
    }),
    launcher: section({
      nodesConnectionTimeout: DurationMs.default(DEFAULTS.nodesConnectionTimeoutMs),
      instanceTtl: DurationMs.default(DEFAULTS.instanceTtlMs),
      checkOverrideEnvVarsPeriod: PeriodMs.default(DEFAULTS.checkOverrideEnvVarsPeriodMs),
    }),
    /** Of the C++ implementation's database; accepted and not used. */
    migration: z.unknown().optional(),
    // Our own keys.
    /** Pauses between attempts to connect: the first one, doubled up to the longest (spec/decisions.md C-11). */
    cloudReconnect: section({
      first: DurationMs.default(DEFAULTS.cloudReconnectFirstMs),
      longest: DurationMs.default(DEFAULTS.cloudReconnectLongestMs),
    }),
    controlSocket: Text.default('/run/aos/cm.sock'),
    reportStateChecksum: z.boolean().default(false),
    storage: section({ quota: z.enum(['auto', 'required', 'off']).default('auto') }),
    network: section({ pools: z.array(Text).optional() }),
    tls: section({ checkHostName: z.boolean().default(true) }),
    /** Where the scheduler of updates is served; absent: nowhere (spec/decisions.md C-78). */
    updateSchedulerServerUrl: Text.optional(),
    /** When software and firmware may be changed; at once unless something else is said (spec/beyond.md P-20). */
    updates: section({ sota: ReleaseRule.prefault({}), fota: ReleaseRule.prefault({}) }),
    metrics: section({ listen: MetricsListen }),
  })
  .transform((config) => {
    const { workingDir, imageManager } = config;
    return {
      ...config,
      storageDir: config.storageDir ?? join(workingDir, 'storages'),
      stateDir: config.stateDir ?? join(workingDir, 'states'),
      unitConfigFile: config.unitConfigFile ?? join(workingDir, 'aos_unit.cfg'),
      dnsPidFile: config.dnsPidFile ?? join(config.dnsStoragePath, 'pidfile'),
      imageManager: {
        ...imageManager,
        installPath: imageManager.installPath ?? join(workingDir, 'install'),
        downloadPath: imageManager.downloadPath ?? join(workingDir, 'download'),
      },
    };
  });
export type CmConfig = z.output<typeof CmConfig>;

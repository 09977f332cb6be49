/** The runtimes of firmware as the configuration of the SM names them (spec/sm.md 6.1, 6.5). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError, type Logger, readDocument, systemClock } from '../../core/index.ts';
import {
  EFI_VARIABLES_DIR,
  EfiBootChooser,
  type EfiSlot,
  EfiVariables,
  UbootChooser,
} from '../../platform/boot/index.ts';
import {
  deviceNames,
  findDevice,
  HostPartition,
  partitionPlace,
  watchDevices,
} from '../../platform/partitions/index.ts';
import { SystemdUnits } from '../../platform/systemd/index.ts';
import { BootConfig, RootfsConfig, type SmConfig } from '../config.ts';
import type { NodeInfo } from '../model.ts';
import { bootRecords } from './boot-records.ts';
import { BootRuntime } from './boot-runtime.ts';
import type { BootHost } from './boot-slots.ts';
import type { FirmwareRuntime } from './firmware-runtime.ts';
import { whenToLookAgain } from './look-again.ts';
import { HostRootfsFiles } from './rootfs-files.ts';
import { RootfsRuntime } from './rootfs-runtime.ts';

export interface FirmwareParts {
  readonly config: Pick<SmConfig, 'workingDir'>;
  readonly node: NodeInfo;
  readonly logger: Logger;
}

/** Throws `invalidArgument` for a setting, `notFound` for a partition that is not there. */
export async function openFirmware(
  plugin: 'boot' | 'rootfs',
  type: string,
  settings: Record<string, unknown>,
  parts: FirmwareParts,
): Promise<FirmwareRuntime> {
  const what = `runtimes: config of ${type}`;
  if (plugin === 'boot') {
    const { value, warnings } = readDocument(BootConfig, settings, { what });
    tell(warnings, type, parts);
    return openBoot(type, value, parts);
  }
  const { value, warnings } = readDocument(RootfsConfig, settings, { what });
  tell(warnings, type, parts);
  return openRootfs(type, value, parts);
}

function tell(warnings: readonly string[], type: string, { logger }: FirmwareParts): void {
  for (const warning of warnings) logger.warn({ runtime: type }, warning);
}

async function openRootfs(type: string, config: RootfsConfig, parts: FirmwareParts): Promise<RootfsRuntime> {
  const { node, logger } = parts;
  const workingDir = config.workingDir ?? join(parts.config.workingDir, 'runtimes', 'rootfs');
  return new RootfsRuntime({
    ...{ type, node, logger, clock: systemClock, units: new SystemdUnits() },
    files: new HostRootfsFiles(workingDir, config.versionFilePath, logger),
    healthCheckServices: config.healthCheckServices,
    bootId: await readBootId(config.bootIdFile),
  });
}

async function openBoot(type: string, config: BootConfig, parts: FirmwareParts): Promise<BootRuntime> {
  const { node, logger } = parts;
  const workingDir = config.workingDir ?? join(parts.config.workingDir, 'runtimes', 'boot');
  const wishes = config.partitions.map((slot): SlotWish => (typeof slot === 'string' ? { device: slot } : slot));
  const [first, second] = wishes as [SlotWish, SlotWish];
  return new BootRuntime({
    ...{ type, node, logger, clock: systemClock, units: new SystemdUnits() },
    slotNames: [first.device, second.device],
    find: (signal) => findSlots(config, [first, second], join(workingDir, 'mnt'), { logger, signal }),
    lookAgain: whenToLookAgain({ clock: systemClock, watchDevices }),
    records: bootRecords(workingDir, logger),
    versionFile: config.versionFile,
    healthCheckServices: config.healthCheckServices,
    bootId: await readBootId(config.bootIdFile),
  });
}

type SlotWish = Exclude<BootConfig['partitions'][number], string>;

interface Search {
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

async function findSlots(
  config: BootConfig,
  wishes: readonly [SlotWish, SlotWish],
  mountPoint: string,
  { logger, signal }: Search,
): Promise<BootHost> {
  const names = deviceNames(
    wishes.map(({ device }) => device),
    config.detectMode,
    await readFile('/proc/cmdline', 'utf8'),
  );
  const find = (index: 0 | 1) => findDevice(names[index]!, signal);
  const [first, second] = [await find(0), await find(1)];
  if (first === second) throw new AosError('invalidArgument', `both slots are ${first}, expected two partitions`);
  const slots = [new HostPartition(first, mountPoint), new HostPartition(second, mountPoint)] as const;
  if (config.bootControl === 'uboot') return { slots, chooser: new UbootChooser(config.uboot) };
  const variables = new EfiVariables(config.efiVarsDir ?? EFI_VARIABLES_DIR);
  const efiSlots = [await efiSlot(first, wishes[0], signal), await efiSlot(second, wishes[1], signal)] as const;
  return { slots, chooser: new EfiBootChooser({ variables, slots: efiSlots, loader: config.loader, logger }) };
}

/** What the configuration says of a slot comes first. */
async function efiSlot(device: string, wish: SlotWish, signal: AbortSignal): Promise<EfiSlot> {
  const { partUuid, number, start, size } = wish;
  if (partUuid === undefined) {
    const place = await partitionPlace(device, signal);
    return { guid: place.guid, address: async () => place };
  }
  const guid = partUuid.toLowerCase();
  const address = async () => {
    if (number !== undefined && start !== undefined && size !== undefined) {
      return { guid, number, startSector: start, sectors: size };
    }
    return { ...(await partitionPlace(device, signal)), guid };
  };
  return { guid, address };
}

async function readBootId(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw asAosError(error, `cannot read "bootIdFile" ${path}`);
  }
}

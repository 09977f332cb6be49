/** What a configuration of the runtimes may say, and what becomes of a node that does not have what it says. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { EfiMachine } from '../../platform/boot/efi-machine-for-tests.ts';
import { UbootMachine } from '../../platform/boot/uboot-machine-for-tests.ts';
import type { FirmwareRuntime } from './firmware-runtime.ts';
import { NODE } from './machine-for-tests.ts';
import { openFirmware } from './open-firmware.ts';

const signal = new AbortController().signal;
const GUIDS = ['11111111-2222-3333-4444-555555555555', 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'] as const;

let directory: string;
const opened: FirmwareRuntime[] = [];
const at = (name: string) => join(directory, name);
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-open-'));
  for (const slot of ['a', 'b']) await writeFile(at(slot), 'slot');
});
afterEach(async () => {
  for (const runtime of opened.splice(0)) await runtime.close();
  await rm(directory, { recursive: true, force: true });
});

async function open(plugin: 'boot' | 'rootfs', settings: Record<string, unknown>): Promise<FirmwareRuntime> {
  const parts = { config: { workingDir: at('work') }, node: NODE, logger: silentLogger };
  const runtime = await openFirmware(plugin, plugin, settings, parts);
  opened.push(runtime);
  return runtime;
}

describe('settings', () => {
  test.each([
    [{}, /partitions/],
    [{ partitions: ['/dev/a'] }, /partitions: expected exactly two partitions/],
    [{ partitions: ['/dev/a', '/dev/b', '/dev/c'] }, /expected exactly two partitions/],
    [{ partitions: ['/dev/a', ''] }, /partitions\[1\]/],
    [{ partitions: ['/dev/a', '/dev/b'], bootControl: 'grub' }, /bootControl/],
    [{ partitions: ['/dev/a', '/dev/b'], detectMode: 'magic' }, /detectMode/],
    [{ partitions: ['/dev/a', '/dev/b'], bootIdFile: '/nowhere/id' }, /cannot read "bootIdFile" \/nowhere\/id/],
  ])('[SM-44] %j is refused by name', async (settings, because) => {
    await expect(open('boot', settings)).rejects.toThrow(because);
  });

  test('[SM-45] those of the root file system have defaults', async () => {
    const runtime = await open('rootfs', {});
    expect(runtime.info()).toMatchObject({ type: 'rootfs', maxInstances: 1, arch: { architecture: 'amd64' } });
  });
});

describe('a node without what its configuration says', () => {
  test.each([
    [['PARTLABEL=no such slot', '/dev/null'], /no partition of this host has PARTLABEL=no such slot/],
    [['/dev/no-such-slot', '/dev/null'], /there is no partition \/dev\/no-such-slot/],
    [['/dev/null', '/dev/null'], /both slots are \/dev\/null/],
  ])('[SM-44] slots %j: the component is failed, and the service manager runs on', async (partitions, because) => {
    const runtime = await open('boot', { partitions });
    expect(await runtime.adopt([], new Map(), signal)).toEqual([]);
    expect(runtime.report().error).toMatch(because);
    expect(runtime.standing()).toMatchObject([{ state: 'failed' }]);
  });

  test('[SM-44] no EFI', async () => {
    const partitions = GUIDS.map((partUuid, index) => ({ device: at('ab'[index]!), partUuid }));
    const runtime = await open('boot', { partitions, efiVarsDir: at('missing') });
    await runtime.adopt([], new Map(), signal);
    expect(runtime.report().error).toMatch(/boot with EFI and mount efivarfs/);
  });

  test('[SM-44] no entry of the firmware, and no way to make one', async () => {
    const efi = await EfiMachine.create(at('efi'));
    const partitions = GUIDS.map((partUuid, index) => ({ device: at('ab'[index]!), partUuid }));
    const runtime = await open('boot', { partitions, efiVarsDir: efi.directory });
    await runtime.adopt([], new Map(), signal);
    expect(runtime.report().error).toBeDefined();
    expect(await efi.dump()).toEqual({});
  });

  test('[SM-44] no U-Boot: the program is named; with it, the environment is asked for the slot and left as it is', async () => {
    const uboot = { printenv: at('uboot/fw_printenv'), setenv: at('uboot/fw_setenv'), config: at('uboot/env') };
    const runtime = await open('boot', { partitions: [at('a'), at('b')], bootControl: 'uboot', uboot });
    await runtime.adopt([], new Map(), signal);
    expect(runtime.report().error).toMatch(/uboot\/fw_printenv/);

    const machine = await UbootMachine.create(at('uboot'));
    await machine.chooser.setMain(1, signal);
    // The slots are files with nothing in them: that is as far as it gets.
    await vi.waitFor(() => expect(runtime.report().error).toMatch(/cannot look into/), 20_000);
    expect(await readFile(machine.at('env'), 'utf8')).toBe('aos_boot_main=1\n');
  });

  test('[SM-44] what the configuration says of a slot is enough for an entry', async () => {
    const efi = await EfiMachine.create(at('efi'));
    const partitions = GUIDS.map((partUuid, index) => ({
      ...{ device: at('ab'[index]!), partUuid: partUuid.toUpperCase() },
      ...{ number: index + 1, start: 2048, size: 100 },
    }));
    const runtime = await open('boot', { partitions, efiVarsDir: efi.directory });
    await runtime.adopt([], new Map(), signal);
    expect(await efi.numbers('BootOrder')).toEqual([0, 1]);
  });

  test('[SM-44] what comes late is found without a restart', async () => {
    const partitions = GUIDS.map((partUuid, index) => ({ device: at(`late-${index}`), partUuid }));
    const runtime = await open('boot', { partitions, efiVarsDir: at('efi') });
    await runtime.adopt([], new Map(), signal);
    expect(runtime.report().error).toMatch(/there is no partition .*late-0/);
    for (const { device } of partitions) await writeFile(device, 'no file system');
    const efi = await EfiMachine.create(at('efi'));
    for (const [index, guid] of GUIDS.entries()) await efi.addEntry(index, guid);
    // The slots are files with nothing in them: that is as far as it gets.
    await vi.waitFor(() => expect(runtime.report().error).toMatch(/cannot look into .*late-0/), 20_000);
    expect(runtime.report().slots.map(({ device }) => device)).toEqual(partitions.map(({ device }) => device));
  });
});

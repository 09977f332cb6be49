/** The boot manager of EFI on a directory with the files of efivarfs; U-Boot by programs that play its tools. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAosError, silentLogger } from '../../core/index.ts';
import { bootChooserSuite } from './boot-chooser.suite.ts';
import { EfiBootChooser } from './efi-boot.ts';
import { buildLoadOption, parseLoadOption, readGuid, writeGuid } from './efi-format.ts';
import { EfiMachine } from './efi-machine-for-tests.ts';
import { EfiVariables } from './efi-variables.ts';
import { FakeBootChooser } from './fake-boot-chooser.ts';
import { UbootMachine } from './uboot-machine-for-tests.ts';

const signal = new AbortController().signal;
const GUIDS = ['11111111-2222-3333-4444-555555555555', 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'] as const;

function efiChooser(directory: string): EfiBootChooser {
  const slot = (guid: string, number: number) => ({
    guid,
    address: async () => ({ guid, number, startSector: 2048 * number, sectors: 4096 }),
  });
  return new EfiBootChooser({
    variables: new EfiVariables(directory),
    slots: [slot(GUIDS[0], 1), slot(GUIDS[1], 2)],
    loader: '/EFI/BOOT/bootx64.efi',
    logger: silentLogger,
  });
}

bootChooserSuite('FakeBootChooser', async () => {
  const chooser = new FakeBootChooser();
  return { chooser, boot: () => chooser.boot(), close: () => undefined };
});

bootChooserSuite('EfiBootChooser', async () => {
  const machine = await EfiMachine.create();
  return {
    chooser: efiChooser(machine.directory),
    boot: async () => void (await machine.boot()),
    close: () => machine.close(),
  };
});

bootChooserSuite('UbootChooser', async () => {
  const machine = await UbootMachine.create();
  return { chooser: machine.chooser, boot: () => machine.boot(), close: () => machine.close() };
});

describe('the environment of U-Boot', () => {
  let machine: UbootMachine;
  beforeEach(async () => {
    machine = await UbootMachine.create();
  });
  afterEach(() => machine.close());

  test('[SM-44] one that cannot be written: refused in the words of the program, and nothing has changed', async () => {
    await machine.chooser.setMain(0, signal);
    const before = await readFile(machine.at('env'), 'utf8');
    await machine.play('fw_setenv', '#!/bin/sh\necho "Cannot open /dev/mtd1: Read-only file system" >&2\nexit 30\n');
    for (const refused of [machine.chooser.setNext(1, signal), machine.chooser.setMain(1, signal)]) {
      await expect(refused).rejects.toThrow(/U-Boot variable aos_boot_\w+ was not written: .*Read-only file system/);
      await expect(refused).rejects.toMatchObject({ code: 'runtime', exitCode: 30 });
    }
    expect(await readFile(machine.at('env'), 'utf8')).toBe(before);
    expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 0, next: undefined });
  });

  test('[SM-44] one that cannot be read, and programs that are not there, are told', async () => {
    await machine.play('fw_printenv', '#!/bin/sh\necho "Cannot read environment, using default" >&2\nexit 2\n');
    await expect(machine.chooser.prepare(signal)).rejects.toThrow(/fw_printenv aos_boot_main: Cannot read environment/);
    await rm(machine.at('fw_printenv'));
    await expect(machine.chooser.prepare(signal)).rejects.toThrow(/fw_printenv/);
  });

  test('[SM-44] values that are no slot, and a command line without one, are no slot', async () => {
    await writeFile(machine.at('env'), 'aos_boot_main=2\naos_boot_next=\n');
    await writeFile(machine.at('cmdline'), 'quiet xaos.slot=1 aos.slot=one\n');
    expect(await machine.chooser.state(signal)).toEqual({ current: undefined, main: undefined, next: undefined });
    await machine.chooser.setMain(1, signal);
    expect(await machine.value('aos_boot_main')).toBe('1');
  });

  test('[SM-44] what is so already is not written again', async () => {
    await machine.chooser.setMain(1, signal);
    await machine.play('fw_setenv', '#!/bin/sh\nexit 1\n');
    await machine.chooser.setMain(1, signal);
  });
});

describe('the formats of EFI', () => {
  test('[SM-44] a GUID is the same after it was written and read', () => {
    fc.assert(
      fc.property(fc.uuid(), (guid) => {
        expect(readGuid(writeGuid(guid))).toBe(guid);
      }),
    );
    expect(writeGuid('c12a7328-f81f-11d2-ba4b-00a0c93ec93b').toString('hex')).toBe('28732ac11ff8d211ba4b00a0c93ec93b');
    expect(() => writeGuid('0001')).toThrow(/"0001" is no GUID/);
  });

  test('[SM-44] an entry names partition and loader, byte by byte', () => {
    const bytes = buildLoadOption('A', { guid: GUIDS[0], number: 3, startSector: 0x800, sectors: 0x1000 }, '/EFI/x');
    expect(bytes.toString('hex')).toBe(
      [
        '01000000', // active
        '4000', // length of the path
        '41000000', // "A"
        '04012a00' + '03000000' + '0008000000000000' + '0010000000000000', // hard drive, number, start, size
        '11111111222233334444555555555555' + '0202',
        '04041200' + '5c004500460049005c0078000000', // file \EFI\x
        '7fff0400',
      ].join(''),
    );
    expect(parseLoadOption(bytes)).toEqual({ description: 'A', partitionGuids: [GUIDS[0]] });
  });

  test('[SM-44] an entry with a disk of the old kind, or cut short, ends and names no partition', () => {
    const bytes = buildLoadOption('A', { guid: GUIDS[0], number: 3, startSector: 1, sectors: 2 }, '/x');
    const withMbr = Buffer.from(bytes);
    withMbr[6 + 4 + 41] = 1;
    expect(parseLoadOption(withMbr).partitionGuids).toEqual([]);
    const looping = Buffer.from(bytes);
    looping.writeUInt16LE(0, 6 + 4 + 2);
    expect(parseLoadOption(looping).partitionGuids).toEqual([]);
    expect(() => parseLoadOption(Buffer.alloc(3))).toThrow(/has 3 bytes/);
  });

  test('[SM-44] any bytes as an entry end in a list or a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          expect(Array.isArray(parseLoadOption(Buffer.from(bytes)).partitionGuids)).toBe(true);
        } catch (error) {
          expect(isAosError(error, 'invalidArgument')).toBe(true);
        }
      }),
    );
  });
});

describe('EFI variables', () => {
  let machine: EfiMachine;
  beforeEach(async () => {
    machine = await EfiMachine.create();
  });
  afterEach(() => machine.close());

  test('[SM-44] entries of the partitions are adopted, others stay where they are', async () => {
    await machine.addEntry(0x1a, 'ffffffff-0000-0000-0000-000000000000');
    await machine.addEntry(2, GUIDS[1]);
    await machine.addEntry(7, GUIDS[0]);
    const before = await machine.dump();
    const chooser = efiChooser(machine.directory);
    await chooser.prepare();
    expect(await machine.dump()).toEqual(before);
    await chooser.setMain(0);
    expect(await machine.numbers('BootOrder')).toEqual([7, 0x1a, 2]);
  });

  test('[SM-44] a missing entry gets the next number and the first place', async () => {
    await machine.addEntry(0x1a, 'ffffffff-0000-0000-0000-000000000000');
    await machine.addEntry(2, GUIDS[0]);
    await efiChooser(machine.directory).prepare();
    expect(await machine.numbers('BootOrder')).toEqual([0x1b, 0x1a, 2]);
    expect(Object.keys(await machine.dump())).toEqual(['Boot0002', 'Boot001A', 'Boot001B', 'BootOrder']);
  });

  test('[SM-44] [R-01] an entry that a power cut left without a place in the order gets the last one', async () => {
    for (const guid of GUIDS) await machine.addEntry(GUIDS.indexOf(guid), guid);
    await machine.put('BootOrder', Buffer.from([1, 0]));
    await efiChooser(machine.directory).prepare();
    expect(await machine.numbers('BootOrder')).toEqual([1, 0]);
    expect(Object.keys(await machine.dump())).toEqual(['Boot0000', 'Boot0001', 'BootOrder']);
  });

  test('[SM-44] a slot whose entry somebody removed is named, and no other is booted in its place', async () => {
    for (const guid of GUIDS) await machine.addEntry(GUIDS.indexOf(guid), guid);
    await rm(machine.path('Boot0001'));
    const before = await machine.dump();
    const chooser = efiChooser(machine.directory);
    for (const refused of [chooser.setNext(1), chooser.setMain(1)]) {
      await expect(refused).rejects.toThrow(/the firmware has no boot entry for slot 1, partition aaaaaaaa-bbbb/);
    }
    expect(await machine.dump()).toEqual(before);
  });

  test('[SM-44] a boot from something else is no slot, unless the loader says from where it came', async () => {
    await machine.addEntry(1, 'ffffffff-0000-0000-0000-000000000000');
    await machine.boot();
    const chooser = efiChooser(machine.directory);
    await chooser.prepare();
    expect(await chooser.state()).toEqual({ current: undefined, main: 0, next: undefined });
    const value = Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${GUIDS[1].toUpperCase()}\0`, 'utf16le')]);
    await writeFile(join(machine.directory, 'LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f'), value);
    expect(await chooser.state()).toMatchObject({ current: 1 });
  });

  test('[SM-44] a value that becomes shorter leaves nothing of the old one, and has its attributes', async () => {
    const variables = new EfiVariables(machine.directory);
    await variables.write('BootOrder', Buffer.from([1, 0, 2, 0, 3, 0]));
    await variables.write('BootOrder', Buffer.from([9, 0]));
    expect(await readFile(machine.path('BootOrder'), 'hex')).toBe('070000000900');
    expect(await variables.read('BootOrder')).toEqual(Buffer.from([9, 0]));
    expect(await variables.read('BootNext')).toBeUndefined();
  });

  test('[SM-44] without EFI the reason is told', async () => {
    await expect(new EfiVariables(join(machine.directory, 'missing')).bootEntries()).rejects.toThrow(
      /boot with EFI and mount efivarfs/,
    );
  });

  test.runIf(process.getuid?.() === 0)(
    '[SM-44] a variable that the kernel guards is written all the same',
    async () => {
      const variables = new EfiVariables(machine.directory);
      await variables.write('BootNext', Buffer.from([1, 0]));
      try {
        execFileSync('chattr', ['+i', machine.path('BootNext')], { stdio: 'pipe' });
      } catch (error) {
        // This file system has no such flag, and so nothing to be tested.
        expect(String(error)).toMatch(/not supported|Inappropriate/);
        return;
      }
      await variables.write('BootNext', Buffer.from([2, 0]));
      expect(await variables.read('BootNext')).toEqual(Buffer.from([2, 0]));
    },
  );
});

describe.runIf(process.getuid?.() === 0)('EFI variables that take nothing', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-efi-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k,nr_inodes=3', 'efi', directory]);
  });
  afterEach(async () => {
    execFileSync('umount', [directory]);
    await rm(directory, { recursive: true, force: true });
  });

  test('[SM-44] full ones: refused as such', async () => {
    const variables = new EfiVariables(directory);
    await variables.write('BootOrder', Buffer.alloc(2));
    await expect(variables.write('Boot0000', Buffer.alloc(200))).rejects.toThrow(/EFI variables are full/);
  });

  test('[SM-44] read-only ones: refused as such', async () => {
    await new EfiVariables(directory).write('BootNext', Buffer.alloc(2));
    execFileSync('mount', ['-o', 'remount,ro', directory]);
    const refused = new EfiVariables(directory).write('BootNext', Buffer.alloc(2));
    await expect(refused).rejects.toThrow(/EFI variables are read-only/);
    await expect(refused).rejects.toMatchObject({ code: 'notSupported' });
  });
});

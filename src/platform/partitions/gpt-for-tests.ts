/** A disk with a partition table, as a file (UEFI 2.10, section 5.3). */
import { crc32 } from 'node:zlib';

const SECTOR = 512;
const ENTRIES = 128;
const ENTRY_BYTES = 128;
const TABLE_SECTORS = (ENTRIES * ENTRY_BYTES) / SECTOR;
const LINUX_DATA = Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex');

export interface TestPartition {
  readonly label: string;
  /** As it lies on the disk. */
  readonly guid: Buffer;
  readonly startSector: number;
  readonly sectors: number;
}

export function gptDisk(sectors: number, partitions: readonly TestPartition[]): Buffer {
  const disk = Buffer.alloc(sectors * SECTOR);
  // One partition of the old kind guards the whole.
  disk.writeUInt8(0xee, 446 + 4);
  disk.writeUInt32LE(1, 446 + 8);
  disk.writeUInt32LE(sectors - 1, 446 + 12);
  disk.writeUInt16LE(0xaa55, 510);
  const table = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  for (const [index, { label, guid, startSector, sectors: size }] of partitions.entries()) {
    const entry = table.subarray(index * ENTRY_BYTES);
    LINUX_DATA.copy(entry, 0);
    guid.copy(entry, 16);
    entry.writeBigUInt64LE(BigInt(startSector), 32);
    entry.writeBigUInt64LE(BigInt(startSector + size - 1), 40);
    entry.write(label, 56, 'utf16le');
  }
  const put = (at: number, other: number, tableAt: number) => {
    const header = Buffer.alloc(92);
    header.write('EFI PART');
    header.writeUInt32LE(0x10000, 8);
    header.writeUInt32LE(92, 12);
    header.writeBigUInt64LE(BigInt(at), 24);
    header.writeBigUInt64LE(BigInt(other), 32);
    header.writeBigUInt64LE(BigInt(2 + TABLE_SECTORS), 40);
    header.writeBigUInt64LE(BigInt(sectors - TABLE_SECTORS - 2), 48);
    header.fill(7, 56, 72);
    header.writeBigUInt64LE(BigInt(tableAt), 72);
    header.writeUInt32LE(ENTRIES, 80);
    header.writeUInt32LE(ENTRY_BYTES, 84);
    header.writeUInt32LE(crc32(table), 88);
    header.writeUInt32LE(crc32(header), 16);
    header.copy(disk, at * SECTOR);
    table.copy(disk, tableAt * SECTOR);
  };
  put(1, sectors - 1, 2);
  put(sectors - 1, 1, sectors - 1 - TABLE_SECTORS);
  return disk;
}

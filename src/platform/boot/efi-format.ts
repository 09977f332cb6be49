/** Bytes of the EFI variables of the boot manager (UEFI 2.10, sections 3.1 and 10.3). Pure. */
import { AosError } from '../../core/index.ts';

/** Where a partition is, as a hard-drive node says it; sectors of 512 bytes. */
export interface PartitionAddress {
  /** GUID of the partition, lower case with dashes. */
  readonly guid: string;
  readonly number: number;
  readonly startSector: number;
  readonly sectors: number;
}

export interface LoadOption {
  readonly description: string;
  /** GUIDs of the partitions that its device path names. */
  readonly partitionGuids: readonly string[];
}

const ACTIVE = 1;
const MEDIA = 0x04;
const HARD_DRIVE = 0x01;
const FILE_PATH = 0x04;
const END = 0x7f;
const GPT = 2;
const GUID_SIGNATURE = 2;
const HARD_DRIVE_BYTES = 42;
const NODE_HEADER_BYTES = 4;

/** A GUID of 16 bytes: the first three numbers are little-endian. */
export function readGuid(bytes: Buffer): string {
  const parts = [
    bytes.readUInt32LE(0).toString(16).padStart(8, '0'),
    bytes.readUInt16LE(4).toString(16).padStart(4, '0'),
    bytes.readUInt16LE(6).toString(16).padStart(4, '0'),
    bytes.toString('hex', 8, 10),
    bytes.toString('hex', 10, 16),
  ];
  return parts.join('-');
}

/** Throws `invalidArgument` for a text that is no GUID. */
export function writeGuid(text: string): Buffer {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) {
    throw new AosError('invalidArgument', `"${text}" is no GUID such as 12345678-9abc-def0-1234-56789abcdef0`);
  }
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

/**
 * Content of a `Boot####` variable. Nodes of other kinds, disks with an MBR signature among them, are passed over
 * (spec/sm.md T-71). Throws `invalidArgument` for bytes that are cut short.
 */
export function parseLoadOption(bytes: Buffer): LoadOption {
  if (bytes.length < 8) throw new AosError('invalidArgument', `a load option has ${bytes.length} bytes, expected 8`);
  const pathBytes = bytes.readUInt16LE(4);
  let end = 6;
  while (end + 1 < bytes.length && bytes.readUInt16LE(end) !== 0) end += 2;
  const description = bytes.toString('utf16le', 6, end);
  const path = bytes.subarray(end + 2, end + 2 + pathBytes);
  return { description, partitionGuids: partitionGuids(path) };
}

function partitionGuids(path: Buffer): string[] {
  const guids: string[] = [];
  for (let at = 0; at + NODE_HEADER_BYTES <= path.length; ) {
    const type = path[at];
    const length = path.readUInt16LE(at + 2);
    if (type === END || length < NODE_HEADER_BYTES) break;
    const node = path.subarray(at, at + length);
    const isPartition = type === MEDIA && node[1] === HARD_DRIVE && node.length >= HARD_DRIVE_BYTES;
    if (isPartition && node[41] === GUID_SIGNATURE) guids.push(readGuid(node.subarray(24, 40)));
    at += length;
  }
  return guids;
}

/** Content of a `Boot####` variable that starts a loader from a partition of a GPT disk. */
export function buildLoadOption(description: string, partition: PartitionAddress, loader: string): Buffer {
  const drive = Buffer.alloc(HARD_DRIVE_BYTES);
  drive.writeUInt8(MEDIA, 0);
  drive.writeUInt8(HARD_DRIVE, 1);
  drive.writeUInt16LE(HARD_DRIVE_BYTES, 2);
  drive.writeUInt32LE(partition.number, 4);
  drive.writeBigUInt64LE(BigInt(partition.startSector), 8);
  drive.writeBigUInt64LE(BigInt(partition.sectors), 16);
  writeGuid(partition.guid).copy(drive, 24);
  drive.writeUInt8(GPT, 40);
  drive.writeUInt8(GUID_SIGNATURE, 41);
  const name = zeroTerminated(loader.replaceAll('/', '\\'));
  const file = Buffer.alloc(NODE_HEADER_BYTES);
  file.writeUInt8(MEDIA, 0);
  file.writeUInt8(FILE_PATH, 1);
  file.writeUInt16LE(NODE_HEADER_BYTES + name.length, 2);
  const path = Buffer.concat([drive, file, name, Buffer.from([END, 0xff, NODE_HEADER_BYTES, 0])]);
  const head = Buffer.alloc(6);
  head.writeUInt32LE(ACTIVE, 0);
  head.writeUInt16LE(path.length, 4);
  return Buffer.concat([head, zeroTerminated(description), path]);
}

function zeroTerminated(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf16le');
}

/** Content of `BootOrder`, or the one number of `BootNext` and `BootCurrent`. */
export function parseNumbers(bytes: Buffer): number[] {
  return Array.from({ length: Math.floor(bytes.length / 2) }, (_, index) => bytes.readUInt16LE(index * 2));
}

/** The reverse of `parseNumbers`. */
export function buildNumbers(numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(numbers.length * 2);
  for (const [index, number] of numbers.entries()) bytes.writeUInt16LE(number, index * 2);
  return bytes;
}

/** Name of the variable of a boot entry. */
export function bootVariable(number: number): string {
  return `Boot${number.toString(16).toUpperCase().padStart(4, '0')}`;
}

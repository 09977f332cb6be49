/** Frames: a header and one message as JSON text (spec/cloud-protocol.md 4, 10). */
import * as z from 'zod';
import { AosError, asAosError, isObject, parseJson, readDocument } from '../core/index.ts';
import { type RefusedEntry, refuseEntries } from './refused-entries.ts';
import { CLOUD_TO_UNIT, type CloudMessage, UNIT_TO_CLOUD, type UnitMessage } from './registry.ts';
import { formatTime } from './values.ts';

export const PROTOCOL_VERSION = 7;

export interface OutgoingEnvelope {
  /** A UUID, or in an ack the txn of the acknowledged message. */
  readonly txn: string;
  readonly systemId: string;
  readonly createdAt: Date;
  readonly data: CloudMessage | UnitMessage;
}

export interface Header {
  readonly version: number;
  readonly systemId: string;
  /** As it was received; nobody depends on it. */
  readonly createdAt: string;
  /** Empty when the sender left it out. */
  readonly txn: string;
}

export interface Envelope<M extends CloudMessage | UnitMessage = CloudMessage | UnitMessage> {
  readonly header: Header;
  readonly messageType: M['messageType'];
  readonly data: M;
  /** Entries that were left out of the message because they are bad. */
  readonly refused: readonly RefusedEntry[];
  /** Keys that nobody reads. */
  readonly warnings: readonly string[];
}

export interface DecodeOptions {
  /** The only system id that is accepted; absent: any. */
  readonly systemId?: string;
}

const SCHEMAS: Readonly<Record<string, z.ZodType>> = { ...CLOUD_TO_UNIT, ...UNIT_TO_CLOUD };

/** Writes a frame; throws `invalidArgument` when the message does not fit its schema. */
export function encodeEnvelope({ txn, systemId, createdAt, data }: OutgoingEnvelope): Buffer {
  const schema = SCHEMAS[data.messageType]!;
  const { value } = readDocument(schema, data, { what: data.messageType });
  return Buffer.from(
    JSON.stringify({
      header: { version: PROTOCOL_VERSION, systemId, createdAt: formatTime(createdAt), txn },
      data: withBothIdentities(value as CloudMessage | UnitMessage),
    }),
  );
}

/** Newer schemas call the identity of a desired item `identity`, 9.1 calls it `item` (spec/decisions.md C-06). */
function withBothIdentities(message: CloudMessage | UnitMessage): unknown {
  if (message.messageType !== 'desiredStatus' || !message.items) return message;
  return { ...message, items: message.items.map((entry) => ({ ...entry, identity: entry.item })) };
}

/** Reads a frame that came from the cloud. Throws `invalidArgument` naming field, finding and expectation. */
export function decodeCloudMessage(bytes: Uint8Array, options: DecodeOptions = {}): Envelope<CloudMessage> {
  return decode(bytes, CLOUD_TO_UNIT, options) as Envelope<CloudMessage>;
}

/** Reads a frame that came from a unit. Throws `invalidArgument` naming field, finding and expectation. */
export function decodeUnitMessage(bytes: Uint8Array, options: DecodeOptions = {}): Envelope<UnitMessage> {
  return decode(bytes, UNIT_TO_CLOUD, options) as Envelope<UnitMessage>;
}

/** Reads a frame of either direction. Throws `invalidArgument` naming field, finding and expectation. */
export function decodeEnvelope(bytes: Uint8Array, options: DecodeOptions = {}): Envelope {
  return decode(bytes, SCHEMAS, options) as Envelope;
}

/** The txn of a frame whose message may be unreadable; undefined when there is none. For logs of refusals. */
export function peekTxn(bytes: Uint8Array): string | undefined {
  try {
    return readHeader(readFrame(bytes).header).txn || undefined;
  } catch {
    return undefined;
  }
}

function decode(bytes: Uint8Array, schemas: Readonly<Record<string, z.ZodType>>, options: DecodeOptions): Envelope {
  const frame = readFrame(bytes);
  const header = readHeader(frame.header);
  if (options.systemId !== undefined && header.systemId !== options.systemId) {
    throw refusal('header.systemId', options.systemId, header.systemId);
  }
  const { messageType } = readDocument(DataHead, frame.data, { what: 'data', lenientScalars: true }).value;
  const schema = Object.hasOwn(schemas, messageType) ? schemas[messageType] : undefined;
  if (!schema) throw refusal('data.messageType', `one of ${Object.keys(schemas).join(', ')}`, messageType);
  const { data, refused } = refuseEntries(messageType, frame.data);
  const { value, warnings } = readDocument(schema, data, { what: messageType, lenientScalars: true });
  return { header, messageType, data: value, refused, warnings } as Envelope;
}

const Frame = z.object({
  header: z.record(z.string(), z.unknown()),
  data: z.record(z.string(), z.unknown()),
});

const DataHead = z.object({ messageType: z.string() });

const HeaderSchema = z.object({
  version: z.number(),
  systemId: z.string(),
  createdAt: z.unknown().optional(),
  txn: z.string().default(''),
});

function readFrame(bytes: Uint8Array): z.output<typeof Frame> {
  let json: string;
  try {
    json = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new AosError('invalidArgument', 'frame is not UTF-8', { cause: asAosError(error) });
  }
  const value = parseJson(json, 'frame');
  if (!isObject(value)) throw refusal('frame', 'an object', value);
  return readDocument(Frame, value, { what: 'frame' }).value;
}

function readHeader(value: unknown): Header {
  const { version, systemId, createdAt, txn } = readDocument(HeaderSchema, value, {
    what: 'header',
    lenientScalars: true,
  }).value;
  if (version !== PROTOCOL_VERSION) throw refusal('header.version', String(PROTOCOL_VERSION), version);
  return { version, systemId, createdAt: typeof createdAt === 'string' ? createdAt : '', txn };
}

function refusal(field: string, expected: string, found: unknown): AosError {
  const text = JSON.stringify(found) ?? String(found);
  return new AosError(
    'invalidArgument',
    `${field}: expected ${expected}, found ${text.length > 80 ? `${text.slice(0, 77)}...` : text}`,
    { fields: { field } },
  );
}

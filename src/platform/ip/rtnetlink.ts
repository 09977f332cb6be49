/** Messages of rtnetlink(7): the few that links of instances need, as bytes. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { AosError } from '../../core/index.ts';

/** Where messages and attributes begin, in bytes. */
const ALIGNMENT = 4;
const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;

const NLM_F_REQUEST = 0x01;
const NLM_F_ACK = 0x04;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const NLM_F_DUMP = 0x300;
const NEW = NLM_F_CREATE | NLM_F_EXCL;

const AF_INET = 2;
const AF_INET6 = 10;
const IFF_UP = 1;
/** An address that nobody else can have is not looked for before it is used. */
const IFA_F_NODAD = 0x02;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RTA_GATEWAY = 5;
const IFLA_IFNAME = 3;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 8;
/** The upper two bits of the type of an attribute say how it is to be read. */
const ATTRIBUTE_TYPE = 0x3fff;

/** Something to ask of the kernel. */
export interface Request {
  /** For whoever hears that it was refused. */
  readonly doing: string;
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

/** An address and the length of its network. */
export interface InterfaceAddress {
  readonly address: string;
  readonly prefix: number;
}

/** What the kernel answered to one request. */
export interface Reply {
  /** Place of the request among those that were sent together. */
  readonly index: number;
  /** Zero: it is done. */
  readonly errno: number;
}

export function upRequest(index: number, name: string): Request {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(IFF_UP, 8);
  header.writeUInt32LE(IFF_UP, 12);
  return { doing: `cannot switch on ${name}`, type: RTM_NEWLINK, flags: 0, body: header };
}

/** Throws `invalidArgument` for what is no address. */
export function addressRequest(index: number, { address, prefix }: InterfaceAddress): Request {
  const bytes = addressBytes(address);
  const isIpv4 = bytes.length === 4;
  const header = Buffer.alloc(8);
  header.writeUInt8(isIpv4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(prefix, 1);
  header.writeUInt8(isIpv4 ? 0 : IFA_F_NODAD, 2);
  header.writeUInt32LE(index, 4);
  const body = Buffer.concat([header, attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes)]);
  return { doing: `cannot give it the address ${address}/${prefix}`, type: RTM_NEWADDR, flags: NEW, body };
}

/** Everything that is not in reach goes there. Throws `invalidArgument` for what is no address. */
export function defaultRouteRequest(gateway: string): Request {
  const bytes = addressBytes(gateway);
  const header = Buffer.alloc(12);
  header.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(RT_TABLE_MAIN, 4);
  header.writeUInt8(RTPROT_BOOT, 5);
  header.writeUInt8(RTN_UNICAST, 7);
  const body = Buffer.concat([header, attribute(RTA_GATEWAY, bytes)]);
  return { doing: `cannot set the way out by ${gateway}`, type: RTM_NEWROUTE, flags: NEW, body };
}

/**
 * One datagram; the kernel does one request after the other. It answers each that it refuses, and the last one: when that
 * answer has come, all are done.
 */
export function encodeRequests(requests: readonly Request[]): Buffer {
  return Buffer.concat(
    requests.map(({ type, flags, body }, index) => {
      const wanted = index === requests.length - 1 ? NLM_F_ACK : 0;
      return message(type, flags | NLM_F_REQUEST | wanted, index, body);
    }),
  );
}

/** Asks for all links, without what was counted on them. */
export function linkListRequest(): Buffer {
  const mask = Buffer.alloc(4);
  mask.writeUInt32LE(RTEXT_FILTER_SKIP_STATS);
  const body = Buffer.concat([Buffer.alloc(16), attribute(IFLA_EXT_MASK, mask)]);
  return message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 0, body);
}

/** Reads answers to `encodeRequests`. */
export function repliesIn(datagram: Uint8Array): Reply[] {
  return messagesIn(datagram)
    .filter(({ type }) => type === NLMSG_ERROR)
    .map(({ index, body }) => ({ index, errno: errnoIn(body) }));
}

/** What the kernel answers with; zero when all is well. */
const errnoIn = (body: Buffer) => Math.abs(body.readInt32LE(0));

/** A link as the kernel tells it; `master` is the number of another one. */
export interface RawLink {
  readonly index: number;
  readonly name: string;
  readonly master?: number | undefined;
  readonly kind?: string | undefined;
}

export interface LinkPart {
  readonly links: readonly RawLink[];
  /** Nothing follows. */
  readonly isLast: boolean;
  /** Links came or went meanwhile: the list may lack some. */
  readonly isTorn: boolean;
  /** Not zero: the kernel gave up. */
  readonly errno: number;
}

/** Reads one datagram of the answer to `linkListRequest`. */
export function linksIn(datagram: Uint8Array): LinkPart {
  const messages = messagesIn(datagram);
  const end = messages.find(({ type }) => type === NLMSG_DONE || type === NLMSG_ERROR);
  return {
    links: messages.filter(({ type }) => type === RTM_NEWLINK).map(({ body }) => linkIn(body)),
    isLast: end !== undefined,
    isTorn: messages.some(({ flags }) => (flags & NLM_F_DUMP_INTR) !== 0),
    errno: end === undefined ? 0 : errnoIn(end.body),
  };
}

function linkIn(body: Buffer): RawLink {
  const attributes = attributesIn(body.subarray(16));
  const kind = attributesIn(attributes.get(IFLA_LINKINFO) ?? Buffer.alloc(0)).get(IFLA_INFO_KIND);
  return {
    index: body.readInt32LE(4),
    name: textIn(attributes.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
    master: attributes.get(IFLA_MASTER)?.readUInt32LE(0),
    ...(kind && { kind: textIn(kind) }),
  };
}

/** Up to its end mark. */
function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? undefined : end);
}

interface Message {
  readonly type: number;
  readonly flags: number;
  readonly index: number;
  readonly body: Buffer;
}

function message(type: number, flags: number, index: number, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(index, 8);
  return padded(Buffer.concat([header, body]));
}

function messagesIn(datagram: Uint8Array): Message[] {
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const found: Message[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    found.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      index: bytes.readUInt32LE(at + 8),
      body: bytes.subarray(at + HEADER_BYTES, at + length),
    });
    at += aligned(length);
  }
  return found;
}

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(ATTRIBUTE_HEADER_BYTES);
  header.writeUInt16LE(ATTRIBUTE_HEADER_BYTES + value.length, 0);
  header.writeUInt16LE(type, 2);
  return padded(Buffer.concat([header, value]));
}

function attributesIn(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + ATTRIBUTE_HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > bytes.length) break;
    const type = bytes.readUInt16LE(at + 2) & ATTRIBUTE_TYPE;
    found.set(type, bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += aligned(length);
  }
  return found;
}

const aligned = (length: number) => Math.ceil(length / ALIGNMENT) * ALIGNMENT;
const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);

/** 4 or 16 bytes. Throws `invalidArgument`. */
export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('.') || text.includes('%')) {
    throw new AosError('invalidArgument', `"${text}" is no address, expected for example 172.17.0.2`);
  }
  const [left, right] = text.split('::').map((side) => side.split(':').filter(Boolean));
  const zeros = 8 - left!.length - (right?.length ?? 0);
  const groups = right === undefined ? left! : [...left!, ...Array<string>(zeros).fill('0'), ...right];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

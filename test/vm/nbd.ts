/**
 * Serves a `Disk` to qemu: the network block device protocol over a Unix socket, as much of it as qemu's client
 * speaks (fixed newstyle handshake, simple replies, read, write, flush, forced unit access).
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Disk } from './disk.ts';

const GREETING = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.from([0, 0b11])]);
const OPTION_MAGIC = Buffer.from('IHAVEOPT');
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;

const OPTION_ABORT = 2;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const REPLY_UNSUPPORTED = 0x80000001;
const INFO_EXPORT = 0;

/** Has flags, sends flush, sends forced unit access. */
const TRANSMISSION_FLAGS = 0b1101;
const COMMAND_READ = 0;
const COMMAND_WRITE = 1;
const COMMAND_DISCONNECT = 2;
const COMMAND_FLUSH = 3;
const FLAG_FORCE_UNIT_ACCESS = 1;
const EINVAL = 22;
const EIO = 5;
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

/** Gives out a stream in pieces of the asked size. */
class Pieces {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#chunks = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Exactly `length` bytes, or undefined at the end of the stream. The buffer belongs to the caller. */
  async take(length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [this.#rest];
    let size = this.#rest.length;
    while (size < length) {
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      parts.push(next.value);
      size += next.value.length;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(length);
    return all.subarray(0, length);
  }
}

/** A disk that listens. One client at a time is what qemu needs. */
export class DiskServer {
  readonly disk: Disk;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #errors = 0;

  private constructor(disk: Disk) {
    this.disk = disk;
    this.#server = createServer((socket) => this.#welcome(socket));
  }

  static async listen(disk: Disk, socketPath: string): Promise<DiskServer> {
    const server = new DiskServer(disk);
    server.#server.listen(socketPath);
    await once(server.#server, 'listening');
    return server;
  }

  /** Requests that were answered with an error; a test bed with any is broken. */
  get errors(): number {
    return this.#errors;
  }

  /** From this moment on nothing reaches the disk: what is still on the way is lost, as it is at a power cut. */
  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.disconnect();
    this.#server.close();
    await once(this.#server, 'close');
    this.disk.close();
  }

  #welcome(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // A client that is killed resets the connection; the end of the stream says the same.
    socket.on('error', () => socket.destroy());
    void this.#serve(socket)
      .catch(() => undefined)
      .finally(() => socket.destroy());
  }

  async #serve(socket: Socket): Promise<void> {
    const pieces = new Pieces(socket);
    socket.write(GREETING);
    if ((await pieces.take(4)) === undefined) return;
    if (!(await this.#negotiate(socket, pieces))) return;
    for (;;) {
      const header = await pieces.take(28);
      if (header === undefined || header.readUInt32BE(0) !== REQUEST_MAGIC) return;
      const command = header.readUInt16BE(6);
      const length = header.readUInt32BE(24);
      if (command === COMMAND_DISCONNECT || length > MAX_REQUEST_BYTES) return;
      const data = command === COMMAND_WRITE ? await pieces.take(length) : Buffer.alloc(0);
      if (data === undefined || socket.destroyed) return;
      this.#answer(socket, header, data);
    }
  }

  /** True when the client wants the disk; false when it goes away. */
  async #negotiate(socket: Socket, pieces: Pieces): Promise<boolean> {
    for (;;) {
      const header = await pieces.take(16);
      if (header === undefined || !header.subarray(0, 8).equals(OPTION_MAGIC)) return false;
      const option = header.readUInt32BE(8);
      if ((await pieces.take(header.readUInt32BE(12))) === undefined || option === OPTION_ABORT) return false;
      if (option !== OPTION_GO) {
        socket.write(optionReply(option, REPLY_UNSUPPORTED));
        continue;
      }
      const description = Buffer.alloc(12);
      description.writeUInt16BE(INFO_EXPORT, 0);
      description.writeBigUInt64BE(BigInt(this.disk.sizeBytes), 2);
      description.writeUInt16BE(TRANSMISSION_FLAGS, 10);
      socket.write(optionReply(option, REPLY_INFO, description));
      socket.write(optionReply(option, REPLY_ACK));
      return true;
    }
  }

  #answer(socket: Socket, header: Buffer, data: Buffer): void {
    const reply = Buffer.alloc(16);
    reply.writeUInt32BE(REPLY_MAGIC, 0);
    header.copy(reply, 8, 8, 16);
    let content: Buffer | undefined;
    try {
      content = this.#perform(header, data);
    } catch (error) {
      this.#errors += 1;
      reply.writeUInt32BE(error instanceof RangeError ? EINVAL : EIO, 4);
    }
    socket.write(reply);
    if (content !== undefined) socket.write(content);
  }

  #perform(header: Buffer, data: Buffer): Buffer | undefined {
    const flags = header.readUInt16BE(4);
    const command = header.readUInt16BE(6);
    const offset = Number(header.readBigUInt64BE(16));
    if (command === COMMAND_READ) return this.disk.read(offset, header.readUInt32BE(24));
    if (command === COMMAND_WRITE) this.disk.write(offset, data, (flags & FLAG_FORCE_UNIT_ACCESS) !== 0);
    else if (command === COMMAND_FLUSH) this.disk.flush();
    else throw new RangeError(`command ${command} was not offered`);
    return undefined;
  }
}

function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

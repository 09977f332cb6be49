/**
 * Functions of the C library that Node.js has no call for (docs/decisions/0029-calls-of-the-c-library.md). The only place
 * that calls native code by its address: each function is declared once, with what the C header says.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { getSystemErrorMap, promisify } from 'node:util';
import type * as Koffi from 'koffi';
import { AosError, asAosError } from '../../core/index.ts';

const CLONE_NEWNET = 0x40000000;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
/** Kernels since 6.3 want to be told that it is to be executed; older ones refuse to be told. */
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
/** No more seals, no smaller, no larger, no other bytes. */
const ALL_SEALS = 0xf;

type Binding = typeof Koffi;
type Call = (...args: unknown[]) => number;
/** A call that another thread makes, so that one that waits for a lock of the kernel does not hold up ours. */
type AsyncCall = (...args: unknown[]) => Promise<number>;

/** The error of a call, by the number that the kernel gave it. */
export function systemError(doing: string, errno: number): AosError {
  const [name, words] = getSystemErrorMap().get(-errno) ?? [`error ${errno}`, 'the kernel refused it'];
  return new AosError('runtime', `${doing}: ${words} (${name})`, { exitCode: errno });
}

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw asAosError(error, `cannot enter the network namespace ${path}`);
  }
}

export class Libc {
  readonly #binding: Binding;
  readonly #library: ReturnType<Binding['load']>;
  readonly #setns: Call;
  readonly #socket: Call;
  readonly #ifNameToIndex: Call;
  readonly #memfdCreate: Call;
  readonly #fcntl: Call;
  readonly #send: AsyncCall;
  readonly #recv: AsyncCall;
  #mallocTrim: Call | undefined;

  constructor() {
    this.#binding = createRequire(import.meta.url)('koffi') as Binding;
    // The program itself has the C library in it, whatever that is called on this host.
    const library = this.#binding.load(null);
    this.#library = library;
    const inAnotherThread = (declaration: string) => promisify(library.func(declaration).async) as AsyncCall;
    this.#setns = library.func('int setns(int fd, int nstype)');
    this.#socket = library.func('int socket(int domain, int type, int protocol)');
    this.#ifNameToIndex = library.func('unsigned int if_nametoindex(const char *ifname)');
    this.#memfdCreate = library.func('int memfd_create(const char *name, unsigned int flags)');
    this.#fcntl = library.func('int fcntl(int fd, int cmd, ...)');
    this.#send = inAnotherThread('intptr_t send(int sockfd, const void *buf, size_t len, int flags)');
    this.#recv = inAnotherThread('intptr_t recv(int sockfd, _Out_ void *buf, size_t len, int flags)');
  }

  /**
   * Does something in the network namespace of a file, such as `/run/netns/name`. It belongs to the thread alone, which
   * does nothing else until it is back; what is opened there stays there. Throws `notFound` for a file that is not there,
   * `runtime` when the kernel refuses.
   */
  inNetworkNamespace<T>(path: string, work: () => T): T {
    const own = openSync('/proc/thread-self/ns/net', 'r');
    try {
      const other = openNamespace(path);
      try {
        if (this.#setns(other, CLONE_NEWNET) !== 0) throw this.#failure(`cannot enter the network namespace ${path}`);
      } finally {
        closeSync(other);
      }
      try {
        return work();
      } finally {
        // A daemon in the wrong network would do harm there, and reach nobody.
        if (this.#setns(own, CLONE_NEWNET) !== 0) process.abort();
      }
    } finally {
      closeSync(own);
    }
  }

  /** The descriptor of a socket to the kernel, of the present network namespace; whoever asks closes it. */
  netlinkSocket(protocol: number): number {
    const descriptor = this.#socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (descriptor < 0) throw this.#failure('cannot open a netlink socket');
    return descriptor;
  }

  /** Of the present network namespace; undefined: it has no such interface. */
  interfaceIndex(name: string): number | undefined {
    return this.#ifNameToIndex(name) || undefined;
  }

  /**
   * The descriptor of a file in memory that can be executed, with these bytes, which nobody can change any more; whoever
   * asks closes it. The name is seen in lists of open files. Throws `runtime` when the kernel refuses.
   */
  sealedFile(name: string, bytes: Uint8Array): number {
    const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const told = this.#memfdCreate(name, flags | MFD_EXEC);
    const descriptor = told < 0 ? this.#memfdCreate(name, flags) : told;
    if (descriptor < 0) throw this.#failure('cannot make a file in memory');
    try {
      writeFileSync(descriptor, bytes);
      if (this.#fcntl(descriptor, F_ADD_SEALS, 'int', ALL_SEALS) !== 0)
        throw this.#failure('cannot seal a file in memory');
      return descriptor;
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Sends all of it as one datagram. */
  async send(descriptor: number, data: Uint8Array): Promise<void> {
    const sent = await this.#send(descriptor, data, data.byteLength, 0);
    if (sent !== data.byteLength) throw new AosError('runtime', `the kernel took ${sent} of ${data.byteLength} bytes`);
  }

  /** One datagram of those that have come, as a part of the buffer; undefined when none has. */
  async receive(descriptor: number, buffer: Uint8Array): Promise<Uint8Array | undefined> {
    const received = await this.#recv(descriptor, buffer, buffer.byteLength, MSG_DONTWAIT);
    return received < 0 ? undefined : buffer.subarray(0, received);
  }

  /**
   * Gives back to the system what lies free between pieces of memory in use; answers whether there was anything. Throws
   * where the C library is not GNU's, which alone can do it.
   */
  giveBackMemory(): boolean {
    this.#mallocTrim ??= this.#library.func('int malloc_trim(size_t pad)') as Call;
    return this.#mallocTrim(0) !== 0;
  }

  #failure(doing: string): AosError {
    return systemError(doing, this.#binding.errno());
  }
}

let loaded: Libc | undefined;

/** The one of this process; it is loaded when it is first needed. */
export function loadedLibc(): Libc {
  loaded ??= new Libc();
  return loaded;
}

/** Links as the kernel itself tells them, and the inside of network namespaces; without a program for each of them. */
import { closeSync } from 'node:fs';
import { AosError, throwIfCanceled } from '../../core/index.ts';
import { type Libc, loadedLibc, systemError } from '../libc/index.ts';
import { netnsPath } from '../netns/index.ts';
import {
  addressRequest,
  defaultRouteRequest,
  encodeRequests,
  type InterfaceAddress,
  linkListRequest,
  linksIn,
  type RawLink,
  type Request,
  repliesIn,
  upRequest,
} from './rtnetlink.ts';

const NETLINK_ROUTE = 0;
/** The kernel fills no more than this at a time. */
const LIST_BYTES = 32_768;
/** An answer repeats the request. */
const REPLY_BYTES = 4_096;
/** How often a list is asked for while links come and go; the last one is taken as it is. */
const LIST_TRIES = 5;
const LOOPBACK = 'lo';
const LOOPBACK_INDEX = 1;

/** What the namespace of an instance is to have inside, besides its loopback interface. */
export interface InsidePlan {
  /** Name of the namespace. */
  readonly netns: string;
  /** Its interface, which is there. */
  readonly device: string;
  readonly addresses: readonly InterfaceAddress[];
  /** The way out. */
  readonly gateway: string;
}

export class KernelLinks {
  /** Makes the inside of a namespace. Throws `notFound` for one that is not there, `runtime` with what was refused. */
  async furnish({ netns, device, addresses, gateway }: InsidePlan, signal: AbortSignal): Promise<void> {
    throwIfCanceled(signal);
    const libc = loadedLibc();
    const { index, socket } = libc.inNetworkNamespace(netnsPath(netns), () => ({
      index: libc.interfaceIndex(device),
      // It belongs to the namespace in which it was opened, whoever uses it.
      socket: libc.netlinkSocket(NETLINK_ROUTE),
    }));
    try {
      if (index === undefined) throw new AosError('notFound', `namespace ${netns} has no interface ${device}`);
      await mustDo(libc, socket, netns, [
        upRequest(LOOPBACK_INDEX, LOOPBACK),
        ...addresses.map((address) => addressRequest(index, address)),
        upRequest(index, device),
        defaultRouteRequest(gateway),
      ]);
    } finally {
      closeSync(socket);
    }
  }

  /** All links of our own network namespace. */
  async list(signal: AbortSignal): Promise<readonly RawLink[]> {
    for (let attempt = 1; ; attempt += 1) {
      throwIfCanceled(signal);
      const { links, isTorn } = await listOnce(loadedLibc());
      if (!isTorn || attempt === LIST_TRIES) return links;
    }
  }
}

async function mustDo(libc: Libc, socket: number, netns: string, requests: readonly Request[]): Promise<void> {
  await libc.send(socket, encodeRequests(requests));
  const buffer = new Uint8Array(REPLY_BYTES);
  // The kernel has done all of it, and answered, when it has taken the datagram.
  for (let isDone = false; !isDone; ) {
    const datagram = await libc.receive(socket, buffer);
    const replies = datagram === undefined ? [] : repliesIn(datagram);
    if (replies.length === 0) throw new AosError('runtime', `the kernel did not answer about namespace ${netns}`);
    for (const { index, errno } of replies) {
      if (errno !== 0) throw systemError(`namespace ${netns}: ${requests[index]?.doing}`, errno);
      isDone = index === requests.length - 1;
    }
  }
}

async function listOnce(libc: Libc): Promise<{ readonly links: readonly RawLink[]; readonly isTorn: boolean }> {
  const socket = libc.netlinkSocket(NETLINK_ROUTE);
  try {
    await libc.send(socket, linkListRequest());
    const buffer = new Uint8Array(LIST_BYTES);
    const links: RawLink[] = [];
    let isTorn = false;
    for (;;) {
      const datagram = await libc.receive(socket, buffer);
      if (datagram === undefined) throw new AosError('runtime', 'the kernel did not tell all links');
      const part = linksIn(datagram);
      if (part.errno !== 0) throw systemError('the kernel does not tell its links', part.errno);
      links.push(...part.links);
      isTorn ||= part.isTorn;
      if (part.isLast) return { links, isTorn };
    }
  } finally {
    closeSync(socket);
  }
}

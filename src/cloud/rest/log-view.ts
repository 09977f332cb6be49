/** A log that a unit has sent, put together from its parts (spec/cloud-protocol.md 8.10). */
import { gunzipSync } from 'node:zlib';
import { asAosError } from '../../core/index.ts';
import type { LogPart, LogRequestRow } from '../store/log-parts.ts';
import type { Stores } from '../store/stores.ts';

/** A part is 256 KiB of text; whatever unpacks to more is no log. */
const MAX_PART_BYTES = 4 * 1024 * 1024;
/** All that one answer holds: what a unit has packed well would be a thousand times as much in memory. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

export interface NodeLog {
  readonly nodeId: string;
  readonly status: string;
  readonly error?: string;
  /** Whether all parts are there. */
  readonly complete: boolean;
  readonly text: string;
}

/** A log that was asked for, and what has come of it. */
export interface AskedLog extends LogRequestRow {
  readonly nodes: readonly NodeLog[];
}

/** All logs of a unit that were asked for, the newest first: they have the most room. */
export async function logsOf({ logs }: Stores, systemId: string): Promise<AskedLog[]> {
  const asked: AskedLog[] = [];
  const room = new Room();
  for (const request of await logs.requests(systemId)) {
    asked.push({ ...request, nodes: readLog(await logs.parts(systemId, request.correlationId), room) });
  }
  return asked;
}

/** The room for text in one answer. */
class Room {
  #leftBytes = MAX_TEXT_BYTES;

  /** The texts of parts, one after the other, as many as there is room for. */
  join(parts: readonly LogPart[]): string {
    const texts: string[] = [];
    for (const [index, part] of parts.entries()) {
      if (this.#leftBytes <= 0) {
        texts.push(
          `[${parts.length - index} more parts have no room here; "Download" on the page of the unit has all]\n`,
        );
        break;
      }
      const text = unpack(part);
      this.#leftBytes -= Buffer.byteLength(text);
      texts.push(text);
    }
    return texts.join('');
  }
}

/** The text of one node's log, however long, part by part; undefined when the node has not answered. */
export function textOf(parts: readonly LogPart[], nodeId: string): Iterable<string> | undefined {
  const ofNode = parts.filter((part) => part.nodeId === nodeId);
  return ofNode.length === 0 ? undefined : unpackEach(ofNode);
}

function* unpackEach(parts: readonly LogPart[]): Generator<string> {
  for (const part of parts) yield unpack(part);
}

/** One log per node that has answered. */
export function readLog(parts: readonly LogPart[], room = new Room()): NodeLog[] {
  return [...Map.groupBy(parts, ({ nodeId }) => nodeId)].map(([nodeId, ofNode]) => {
    const last = ofNode.at(-1)!;
    const failed = ofNode.find(({ status }) => status === 'error');
    return {
      nodeId,
      status: failed?.status ?? last.status,
      ...(failed?.error ? { error: failed.error } : {}),
      complete: failed !== undefined || ofNode.length >= last.partsCount,
      text: room.join(ofNode),
    };
  });
}

function unpack({ content, part }: LogPart): string {
  if (content.length === 0) return '';
  try {
    return gunzipSync(content, { maxOutputLength: MAX_PART_BYTES }).toString('utf8');
  } catch (error) {
    return `[part ${part} cannot be unpacked: ${asAosError(error).message}]\n`;
  }
}

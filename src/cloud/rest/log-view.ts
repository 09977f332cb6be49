/** A log that a unit has sent, put together from its parts (spec/cloud-protocol.md 8.10). */
import { gunzipSync } from 'node:zlib';
import { asAosError } from '../../core/index.ts';
import type { LogPart, LogRequestRow } from '../store/log-parts.ts';
import type { Stores } from '../store/stores.ts';

/** A part is 256 KiB of text; whatever unpacks to more is no log. */
const MAX_PART_BYTES = 4 * 1024 * 1024;

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

/** All logs of a unit that were asked for, the newest first. */
export async function logsOf({ logs }: Stores, systemId: string): Promise<AskedLog[]> {
  const asked: AskedLog[] = [];
  for (const request of await logs.requests(systemId)) {
    asked.push({ ...request, nodes: readLog(await logs.parts(systemId, request.correlationId)) });
  }
  return asked;
}

/** One log per node that has answered. */
export function readLog(parts: readonly LogPart[]): NodeLog[] {
  const nodes = new Map<string, LogPart[]>();
  for (const part of parts) nodes.set(part.nodeId, [...(nodes.get(part.nodeId) ?? []), part]);
  return [...nodes].map(([nodeId, ofNode]) => {
    const last = ofNode.at(-1)!;
    const failed = ofNode.find(({ status }) => status === 'error');
    return {
      nodeId,
      status: failed?.status ?? last.status,
      ...(failed?.error ? { error: failed.error } : {}),
      complete: failed !== undefined || ofNode.length >= last.partsCount,
      text: ofNode.map(unpack).join(''),
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

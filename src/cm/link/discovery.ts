/** Where the cloud is: which address is asked, and what an answer means (spec/cloud-protocol.md 2). Pure. */
import * as z from 'zod';
import { AosError, parseJson, readDocument } from '../../core/index.ts';
import { PROTOCOL_VERSION } from '../../protocol/index.ts';
import type { CertificateNames } from './certificate-names.ts';

const DISCOVERY_PORT = 9000;

export interface DiscoveryConfig {
  /** The address of last resort; its path is that of every request. */
  readonly serviceDiscoveryUrl: string;
  /** Replaces every other address when not empty. */
  readonly overrideServiceDiscoveryUrl: string;
}

/**
 * The addresses that are asked, one per attempt, in their order (spec/decisions.md C-10): the override alone, else those
 * of the certificate, its organisation, and the configured one. What is no HTTP address is left out.
 */
export function discoveryUrls(config: DiscoveryConfig, names: CertificateNames | undefined): string[] {
  const { serviceDiscoveryUrl: configured, overrideServiceDiscoveryUrl: override } = config;
  const path = httpUrl(configured)?.pathname ?? '/';
  const candidates = override
    ? [override]
    : [
        ...(names?.issuerUris ?? []),
        ...(names?.organisation ? [`https://${names.organisation}:${DISCOVERY_PORT}`] : []),
        configured,
      ];
  const urls = candidates.flatMap((candidate) => {
    const url = httpUrl(candidate);
    if (!url) return [];
    url.pathname = path;
    url.hash = '';
    return [url.href];
  });
  return [...new Set(urls)];
}

function httpUrl(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.protocol === 'https:' || url.protocol === 'http:' ? url : undefined;
}

/** Body of the request (spec/cloud-protocol.md 2.3). */
export function discoveryRequest(systemId: string): string {
  return JSON.stringify({ version: PROTOCOL_VERSION, systemId, supportedProtocols: ['wss'] });
}

/** What the cloud wants us to do. */
export type DiscoveryAnswer =
  | {
      readonly do: 'connect';
      readonly urls: readonly string[];
      readonly token: string;
      readonly nextRequestDelayMs: number;
      /** The cloud offers deltas of blobs to a unit that says which blobs it has. */
      readonly offersDeltas: boolean;
    }
  | { readonly do: 'ask'; readonly url: string }
  /** `again`: here, not elsewhere. */
  | { readonly do: 'wait'; readonly delayMs: number; readonly again: boolean; readonly because: string };

const ERROR_CODES: readonly string[] = ['noerror', 'redirect', 'repeatlater', 'error'];
const REDIRECT = 1;
const REPEAT_LATER = 2;

const Answer = z.object({
  nextRequestDelay: z.number().default(0),
  connectionInfo: z.array(z.string()).default([]),
  authToken: z.string().default(''),
  /** A number or its name. */
  errorCode: z.union([z.number(), z.string()]).default(0),
  /** An extension of aos-cloud (docs/decisions/0025-deltas.md). */
  blobDeltas: z.boolean().default(false).catch(false),
});

/**
 * Judges an answer (spec/decisions.md C-09): WebSocket addresses count whatever the code says. Throws
 * `invalidArgument` for what is no answer.
 */
export function readDiscoveryAnswer(body: string): DiscoveryAnswer {
  const what = 'discovery answer';
  const answer = readDocument(Answer, parseJson(body, what), { what, lenientScalars: true }).value;
  const code = errorCode(answer.errorCode);
  const urls = answer.connectionInfo.filter((url) => URL.canParse(url));
  const byScheme = (...schemes: string[]) => urls.filter((url) => schemes.includes(new URL(url).protocol));
  const elsewhere = byScheme('https:', 'http:');
  const sockets = code === 0 ? byScheme('wss:', 'ws:', 'https:', 'http:') : byScheme('wss:', 'ws:');
  const delayMs = Math.max(0, answer.nextRequestDelay);
  if (sockets.length > 0) {
    const { authToken: token, blobDeltas: offersDeltas } = answer;
    return { do: 'connect', urls: sockets, token, nextRequestDelayMs: delayMs, offersDeltas };
  }
  if (code === REDIRECT && elsewhere[0]) return { do: 'ask', url: elsewhere[0] };
  const said = ERROR_CODES[code] ?? String(code);
  return {
    do: 'wait',
    delayMs,
    again: code === REPEAT_LATER,
    because: `discovery answered ${said} and names no address to connect to`,
  };
}

function errorCode(value: number | string): number {
  if (typeof value === 'number') return value;
  const number = Number(value);
  if (Number.isInteger(number)) return number;
  const named = ERROR_CODES.indexOf(value.toLowerCase());
  return named < 0 ? ERROR_CODES.length - 1 : named;
}

/** The address of the WebSocket behind an address of `connectionInfo`: `https` means `wss`. */
export function webSocketUrl(text: string): string {
  const url = new URL(text);
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol === 'http:') url.protocol = 'ws:';
  url.hash = '';
  return url.href;
}

/** The error for a status of discovery other than 200. */
export function statusError(status: number): AosError {
  return new AosError('failed', `answered with status ${status}, expected 200`, { exitCode: status });
}

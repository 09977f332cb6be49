/** The request to service discovery (spec/cloud-protocol.md 2.2 to 2.4). */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import { type DiscoveryAnswer, discoveryRequest, readDiscoveryAnswer, statusError } from './discovery.ts';
import type { LinkNumbers } from './model.ts';

export interface AskOptions {
  readonly systemId: string;
  /** Roots, certificate and key; asked for only where the address wants TLS. */
  readonly tls: () => Promise<SecureContextOptions>;
  readonly numbers: LinkNumbers;
  readonly signal: AbortSignal;
}

/** Asks, and follows the cloud to other places of discovery within bounds. Throws what a failed attempt is. */
export async function askDiscovery(
  firstUrl: string,
  options: AskOptions,
): Promise<Exclude<DiscoveryAnswer, { do: 'ask' }>> {
  let url = firstUrl;
  for (let hops = 0; ; hops += 1) {
    const answer = readDiscoveryAnswer(await post(url, options));
    if (answer.do !== 'ask') return answer;
    if (hops >= options.numbers.maxRedirects) {
      throw new AosError('failed', `discovery at ${firstUrl} sends on more than ${options.numbers.maxRedirects} times`);
    }
    url = answer.url;
  }
}

async function post(url: string, { systemId, tls, numbers, signal }: AskOptions): Promise<string> {
  const timeout = AbortSignal.timeout(numbers.connectTimeoutMs);
  const both = AbortSignal.any([signal, timeout]);
  const body = Buffer.from(discoveryRequest(systemId));
  const secure = new URL(url).protocol === 'https:';
  const common = {
    method: 'POST',
    headers: {
      Accept: 'application/json',
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      Connection: 'close',
    },
    agent: false,
    signal: both,
  } as const;
  try {
    const tlsOptions = secure ? await tls() : {};
    return await new Promise<string>((resolve, reject) => {
      const request = secure ? httpsRequest(url, { ...common, ...tlsOptions }) : httpRequest(url, common);
      request.on('error', reject);
      request.on('response', (response) => {
        receive(response, numbers.maxDiscoveryAnswerBytes).then(resolve, (error: unknown) => {
          request.destroy();
          reject(error);
        });
      });
      request.end(body);
    });
  } catch (error) {
    if (signal.aborted) throw canceledBy(signal);
    if (timeout.aborted) {
      throw new AosError('timeout', `discovery at ${url} did not answer within ${numbers.connectTimeoutMs} ms`);
    }
    throw asAosError(error, `discovery at ${url}`);
  }
}

async function receive(response: IncomingMessage, maxBytes: number): Promise<string> {
  if (response.statusCode !== 200) throw statusError(response.statusCode ?? 0);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new AosError('outOfRange', `the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

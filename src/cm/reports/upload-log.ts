/** Puts a part of a log where the cloud wants it (spec/decisions.md C-23). */
import { request } from 'node:https';
import { rootCertificates } from 'node:tls';
import { AosError, asAosError, canceledBy } from '../../core/index.ts';
import type { UploadOptions } from '../../protocol/index.ts';
import type { LogPart } from '../nodes/index.ts';

const TIMEOUT_MS = 60_000;

/** What to upload with: the system's roots and that of the cloud count (spec/decisions.md C-38). */
export function logUploader(ca: string) {
  return async (options: UploadOptions, part: LogPart, signal: AbortSignal): Promise<void> => {
    const { url, bearerToken } = options;
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
      throw new AosError('invalidArgument', `"${url}" is no HTTPS address`);
    }
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const status = await new Promise<number>((resolve, reject) => {
        const put = request(url, {
          method: 'PUT',
          agent: false,
          ca: [...rootCertificates, ca],
          signal: AbortSignal.any([signal, timeout]),
          headers: {
            'Content-Type': 'application/gzip',
            'Content-Length': part.content.length,
            // One address takes the parts of all nodes: these tell them apart.
            'Aos-Node': encodeURIComponent(part.nodeId),
            'Aos-Part': part.part,
            'Aos-Parts-Count': part.partsCount,
            ...(bearerToken ? { Authorization: `Bearer ${bearerToken}` } : {}),
          },
        });
        put.on('error', reject);
        put.on('response', (response) => {
          response.resume();
          response.on('error', reject);
          response.on('end', () => resolve(response.statusCode ?? 0));
        });
        put.end(part.content);
      });
      if (status < 200 || status > 299) {
        throw new AosError('failed', `${url} answered the upload of a log with status ${status}`, { exitCode: status });
      }
    } catch (error) {
      if (signal.aborted) throw canceledBy(signal);
      if (timeout.aborted) throw new AosError('timeout', `${url} took no log within ${TIMEOUT_MS} ms`);
      throw asAosError(error);
    }
  };
}

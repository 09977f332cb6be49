/** Where SMs reach the blob server (spec/cm.md 3.10, spec/decisions.md C-74). Pure. */
import { AosError } from '../../core/index.ts';

export interface BlobAddress {
  readonly host: string;
  readonly port: number;
}

/** `[http://]host[:port]`; the port is 80 when absent, the host `localhost`. Throws `invalidArgument`. */
export function parseFileServerUrl(text: string): BlobAddress {
  const url = URL.parse(text.includes('://') ? text : `http://${text.startsWith(':') ? 'localhost' : ''}${text}`);
  if (url?.protocol !== 'http:') {
    throw new AosError('invalidArgument', `fileServerUrl "${text}" is no address of the form host:port`);
  }
  return { host: url.hostname || 'localhost', port: url.port === '' ? 80 : Number(url.port) };
}

/** A loopback name means nothing on other nodes: there the first other name of the CM's certificate is told. */
export function advertisedHost(host: string, hasOtherNodes: boolean, certificateNames: readonly string[]): string {
  if (!hasOtherNodes || !isLoopback(host)) return host;
  return certificateNames.find((name) => !isLoopback(name)) ?? host;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.startsWith('127.') || host === '[::1]' || host === '::1';
}

/** DNS names and addresses of a certificate, from the text that Node.js gives. */
export function namesOfCertificate(subjectAltName: string | undefined): string[] {
  const names = (subjectAltName ?? '').split(/,\s*/).map((entry) => /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1]);
  return names.filter((name) => name !== undefined);
}

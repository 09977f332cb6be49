/** What a unit shows of itself to its cloud. */
import { X509Certificate } from 'node:crypto';
import { certificateBlocks } from '../../core/index.ts';

/**
 * A chain (PEM, leaf first) without its root: whoever trusts it has it (RFC 8446, 4.4.2), and a cloud would keep it once
 * more for as long as the unit is connected. What cannot be read stays. Pure.
 */
export function withoutRoot(chain: string): string {
  const [leaf, ...issuers] = certificateBlocks(chain);
  if (leaf === undefined) return chain;
  return `${[leaf, ...issuers.filter((pem) => !isRoot(pem))].join('\n')}\n`;
}

function isRoot(pem: string): boolean {
  try {
    const certificate = new X509Certificate(pem);
    return certificate.checkIssued(certificate);
  } catch {
    return false;
  }
}

/** Certificates of units that end. */
import { type Actor, seesFleet } from '../access/roles.ts';
import type { CertificateRow } from '../store/certificates.ts';
import type { Stores } from '../store/stores.ts';

/** Those that end before a time, of the units that the actor sees; the first to end comes first. */
export async function endingCertificates(
  { certificates, units }: Stores,
  actor: Actor,
  end: Date,
): Promise<CertificateRow[]> {
  const seen: CertificateRow[] = [];
  for (const certificate of await certificates.endingBefore(end)) {
    const unit = certificate.systemId === null ? undefined : await units.find(certificate.systemId);
    if (unit && seesFleet(actor, unit.fleet)) seen.push(certificate);
  }
  return seen;
}

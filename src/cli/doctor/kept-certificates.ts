/** The certificates of a node whose IAM does not say which it has. Pure. */
import type { CertificateFact, KeptCertificate, KeyDirectoryFact, TokenFact } from './facts.ts';

/** All that lie beside their keys; of each type IAM uses the one that is valid longest (spec/iam.md 9.3). */
export function keptCertificates(
  tokens: readonly TokenFact[],
  directories: readonly KeyDirectoryFact[],
): CertificateFact[] {
  const inFiles = directories.flatMap(({ keys }) => keys).filter(({ state }) => state.is === 'fine');
  const kept: KeptCertificate[] = [
    ...tokens.flatMap(({ certificates = [] }) => certificates),
    // A key that waits for its certificate has none yet.
    ...inFiles.flatMap(({ type, notAfter }) => (notAfter === undefined ? [] : [{ type, notAfter }])),
  ];
  const endMs = ({ notAfter }: KeptCertificate) => Date.parse(notAfter);
  const current = new Set(
    [...Map.groupBy(kept, ({ type }) => type).values()].map((ones) =>
      ones.reduce((best, one) => (endMs(one) > endMs(best) ? one : best)),
    ),
  );
  return kept.map((one) => ({ ...one, current: current.has(one) }));
}

/** What users of a key by its URL need: the chain of a certificate, decryption (spec/iam.md 11.3). */
import { X509Certificate } from 'node:crypto';
import { AosError, issuerAmong } from '../../core/index.ts';
import { certificateParts } from './der-parts.ts';
import type { RefusedPins } from './refused-pins.ts';
import type { Pkcs11Library, TokenSession } from './token.ts';
import { pinCandidates, type TokenUrl } from './token-url.ts';

const MAX_CHAIN = 8;

/** Opens the token of a URL, logged in when the URL names a PIN. Close the session. Throws what `RefusedPins.open` throws. */
export function openTokenOf(
  library: Pkcs11Library,
  url: TokenUrl,
  refused: RefusedPins,
): { session: TokenSession; pin: string | undefined } {
  const token = library.find({ label: url.token });
  const pins = pinCandidates(url);
  if (pins.length === 0) return { session: library.open(token.slotId), pin: undefined };
  return refused.open(library, token, pins, url.pinSource ?? 'its URL');
}

/**
 * The certificate of a URL with its issuers up to the root, DER, leaf first. Every issuer must be in the token.
 * Throws `notFound` naming what is missing.
 */
export function readChain(session: TokenSession, url: Pick<TokenUrl, 'object' | 'id'>): Buffer[] {
  const leaf = session.list({ kind: 'certificate', id: url.id, label: url.object })[0];
  if (!leaf) {
    throw new AosError(
      'notFound',
      `the token "${session.token.label}" has no certificate "${url.object}" with id ${url.id.toString('hex')}`,
    );
  }
  const chain = [session.certificate(leaf)];
  let others: { der: Buffer; subject: Buffer }[] | undefined;
  for (let current = chain[0]!; !isSelfSigned(current); ) {
    others ??= session.list({ kind: 'certificate' }).map((object) => {
      const der = session.certificate(object);
      return { der, subject: certificateParts(der).subject };
    });
    const { issuer } = certificateParts(current);
    const signed = new X509Certificate(current);
    const named = others.filter(({ subject }) => subject.equals(issuer)).map(({ der }) => new X509Certificate(der));
    const parent = issuerAmong(
      signed,
      named.filter((other) => signed.checkIssued(other)),
    )?.raw;
    if (!parent || chain.length >= MAX_CHAIN || chain.some((known) => known.equals(parent))) {
      throw new AosError('notFound', `the token "${session.token.label}" has no issuer of ${signed.subject}`);
    }
    chain.push(parent);
    current = parent;
  }
  return chain;
}

function isSelfSigned(der: Buffer): boolean {
  const { subject, issuer } = certificateParts(der);
  return subject.equals(issuer);
}

/** DER certificates as PEM, one after another. */
export function toPem(chain: readonly Uint8Array[]): string {
  return chain
    .map((der) => {
      const lines = Buffer.from(der)
        .toString('base64')
        .replace(/(.{64})(?=.)/g, '$1\n');
      return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
    })
    .join('');
}

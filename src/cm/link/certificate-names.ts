/** What the `online` certificate says about its cloud (spec/cloud-protocol.md 2.1). */
import { X509Certificate } from 'node:crypto';
import { type DerValue, readDer, readDerSequence, readObjectId } from '../../core/index.ts';

export interface CertificateNames {
  /** URIs of the extension "issuer alternative name", in their order. */
  readonly issuerUris: readonly string[];
  /** The first organisation of the subject. */
  readonly organisation?: string;
}

const ORGANISATION = '2.5.4.10';
const ISSUER_ALTERNATIVE_NAME = '2.5.29.18';
const TAG = { octets: 0x04, sequence: 0x30, extensions: 0xa3, version: 0xa0, uri: 0x86, bmpString: 0x1e };

/** Reads the leaf of a chain (PEM). Throws when it is no certificate. */
export function certificateNames(chain: string): CertificateNames {
  const certificate = readDer(new X509Certificate(chain).raw);
  const [tbs] = readDerSequence(certificate.content);
  const fields = readDerSequence(tbs!.content);
  // serial, signature algorithm, issuer, validity, subject; before them a version if there is one.
  const subject = fields[fields[0]?.tag === TAG.version ? 5 : 4];
  const extensions = fields.find(({ tag }) => tag === TAG.extensions);
  const organisation = subject && readOrganisation(subject);
  return {
    issuerUris: extensions ? readIssuerUris(extensions) : [],
    ...(organisation ? { organisation } : {}),
  };
}

function readOrganisation(subject: DerValue): string | undefined {
  for (const names of readDerSequence(subject.content)) {
    for (const name of readDerSequence(names.content)) {
      const [type, value] = readDerSequence(name.content);
      if (type && value && readObjectId(type.content) === ORGANISATION) return textOf(value).trim() || undefined;
    }
  }
  return undefined;
}

function textOf({ tag, content }: DerValue): string {
  return tag === TAG.bmpString ? Buffer.from(content).swap16().toString('utf16le') : content.toString();
}

function readIssuerUris(extensions: DerValue): string[] {
  const list = readDer(extensions.content);
  for (const extension of readDerSequence(list.content)) {
    const parts = readDerSequence(extension.content);
    const value = parts.find(({ tag }) => tag === TAG.octets);
    if (!parts[0] || !value || readObjectId(parts[0].content) !== ISSUER_ALTERNATIVE_NAME) continue;
    return readDerSequence(readDer(value.content).content)
      .filter(({ tag }) => tag === TAG.uri)
      .map(({ content }) => content.toString());
  }
  return [];
}

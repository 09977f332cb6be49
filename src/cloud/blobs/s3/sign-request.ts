/** Signatures of requests to S3-compatible stores: "AWS Signature Version 4", in the Authorization header. Pure. */
import { createHash, createHmac } from 'node:crypto';

const ALGORITHM = 'AWS4-HMAC-SHA256';
const SERVICE = 's3';
/** What `encodeURIComponent` leaves alone, and the signature does not. */
const RESERVED = /[!'()*]/g;

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of credentials that are valid for a while. */
  readonly sessionToken?: string | undefined;
}

export interface RequestToSign {
  readonly method: string;
  /** Its path encoded by `encodeKey`; without a query. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body, hex. */
  readonly payloadSha256: string;
  readonly region: string;
  readonly credentials: S3Credentials;
  readonly at: Date;
}

export const EMPTY_SHA256 = sha256('');

/** All headers of the request: its own, those that a signature adds, and the signature. */
export function signRequest(request: RequestToSign): Record<string, string> {
  const { method, url, payloadSha256, region, credentials, at } = request;
  const time = at.toISOString().replace(/[-:]|\.\d+/g, '');
  const day = time.slice(0, 8);
  const headers: Record<string, string> = {
    ...lowerCase(request.headers),
    host: url.host,
    'x-amz-content-sha256': payloadSha256,
    'x-amz-date': time,
    ...(credentials.sessionToken !== undefined && { 'x-amz-security-token': credentials.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const signedHeaders = names.join(';');
  const canonical = [
    ...[method, url.pathname, ''],
    ...names.map((name) => `${name}:${headers[name]!.trim().replace(/\s+/g, ' ')}`),
    ...['', signedHeaders, payloadSha256],
  ].join('\n');
  const scope = `${day}/${region}/${SERVICE}/aws4_request`;
  const text = [ALGORITHM, time, scope, sha256(canonical)].join('\n');
  // The secret leaves this function only in what nobody can turn back.
  const key = [day, region, SERVICE, 'aws4_request'].reduce<string | Buffer>(
    (former, part) => hmac(former, part),
    `AWS4${credentials.secretAccessKey}`,
  );
  const signature = hmac(key, text).toString('hex');
  const { accessKeyId } = credentials;
  return {
    ...headers,
    authorization: `${ALGORITHM} Credential=${accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
  };
}

/** The name of an object as it stands in an address; slashes stay. */
export function encodeKey(key: string): string {
  const encode = (part: string) =>
    encodeURIComponent(part).replace(RESERVED, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
  return key.split('/').map(encode).join('/');
}

const lowerCase = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

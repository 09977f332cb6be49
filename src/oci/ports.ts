/** Ports that services expose and want to reach (spec/oci-items.md 5 and 6.5, spec/decisions.md C-47). */
import { AosError } from '../core/index.ts';

/** First and last port, both included, and the protocol in lower case. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly protocol: string;
}

const RANGE = /^(\d{1,5})(?:[-:](\d{1,5}))?$/;
const PROTOCOL = /^[a-z]+$/;
const EXPECTED = 'expected for example 8080, 8080/tcp or 8080-8089/udp';

function parseRange(port: string, protocol: string, text: string): PortRange {
  const match = RANGE.exec(port.trim());
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  const valid = match !== null && PROTOCOL.test(protocol) && first >= 1 && last >= first && last <= 65_535;
  if (!valid) throw new AosError('invalidArgument', `"${text}" is not a port, ${EXPECTED}`);
  return { first, last, protocol };
}

/** Reads `a`, `a-b` or `a:b`, each with an optional `/<protocol>`. Throws `invalidArgument` naming the text. */
export function parseExposedPort(text: string): PortRange {
  const [port = '', protocol = 'tcp', ...rest] = text.split('/');
  if (rest.length > 0) throw new AosError('invalidArgument', `"${text}" is not a port, ${EXPECTED}`);
  return parseRange(port, protocol.trim().toLowerCase() || 'tcp', text);
}

/** Reads `<item ID>/<port>[/<protocol>]`. Throws `invalidArgument` naming the text. */
export function parseAllowedConnection(text: string): PortRange & { readonly itemId: string } {
  const [itemId = '', port = '', protocol = 'tcp', ...rest] = text.split('/');
  if (itemId === '' || rest.length > 0) {
    throw new AosError('invalidArgument', `"${text}" is not a connection, expected <item ID>/<port>/<protocol>`);
  }
  return { itemId, ...parseRange(port, protocol.trim().toLowerCase() || 'tcp', text) };
}

/** True when everything that is requested is exposed. */
export function portsInclude(exposed: PortRange, requested: PortRange): boolean {
  return exposed.protocol === requested.protocol && exposed.first <= requested.first && requested.last <= exposed.last;
}

/** The form that goes to service managers: `a` or `a-b`. */
export function formatPorts(range: PortRange): string {
  return range.first === range.last ? String(range.first) : `${range.first}-${range.last}`;
}

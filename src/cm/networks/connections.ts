/** Who may reach whom: exposed ports and allowed connections (spec/cm.md 6.3 steps 5, 6 and 9; CM-51). Pure. */
import { AosError, instanceKey } from '../../core/index.ts';
import { formatPorts, parseAllowedConnection, parseExposedPort, portsInclude } from '../../oci/index.ts';
import { isInSubnet, subnetOf } from './addresses.ts';
import type { FirewallRule, NetworkInstance, NetworkState, PendingConnection, RulePush } from './model.ts';

/** Rules per requester that every SM takes. */
const MAX_RULES = 10;

export interface Connection {
  readonly itemId: string;
  readonly port: string;
  readonly protocol: string;
}

export function readConnection(text: string): Connection {
  try {
    const connection = parseAllowedConnection(text);
    return { itemId: connection.itemId, port: formatPorts(connection), protocol: connection.protocol };
  } catch (error) {
    throw new AosError('runtime', 'unsupported allowed connections format', { cause: error, fields: { text } });
  }
}

export function checkExposedPort(text: string): void {
  try {
    parseExposedPort(text);
  } catch (error) {
    throw new AosError('runtime', 'unsupported ExposedPorts format', { cause: error, fields: { text } });
  }
}

export interface Requester {
  readonly ip: string;
  readonly subnet: string;
}

/**
 * The rules for one connection; undefined when the item has no instance yet. None are needed for an instance in the
 * requester's own network, none help when nobody exposes the port.
 */
export function rulesFor(
  connection: Connection,
  requester: Requester,
  instances: Iterable<NetworkInstance>,
): FirewallRule[] | undefined {
  const targets = [...instances].filter(({ ident }) => ident.itemId === connection.itemId);
  if (targets.length === 0) return undefined;
  if (targets.some(({ ip }) => isInSubnet(ip, requester.subnet))) return [];
  const wanted = parseExposedPort(`${connection.port}/${connection.protocol}`);
  return targets
    .filter(({ exposedPorts }) => exposedPorts.some((port) => portsInclude(parseExposedPort(port), wanted)))
    .map(({ ip }) => ({ dstIp: ip, dstPort: connection.port, proto: connection.protocol, srcIp: requester.ip }));
}

/** All rules of an instance, at most as many as an SM takes, and what has to wait for its target. */
export function connect(
  connections: readonly Connection[],
  requester: Requester,
  instances: Iterable<NetworkInstance>,
): { readonly rules: readonly FirewallRule[]; readonly waiting: readonly Connection[] } {
  const all = [...instances];
  const waiting: Connection[] = [];
  const rules: FirewallRule[][] = [];
  for (const connection of connections) {
    const found = rulesFor(connection, requester, all);
    if (found) rules.push(found);
    else waiting.push(connection);
  }
  return { rules: fitting(rules), waiting };
}

/** At most as many as an SM takes: each connection gets its first rule before any gets its second. */
function fitting(perConnection: readonly (readonly FirewallRule[])[]): FirewallRule[] {
  const counts = perConnection.map(() => 0);
  let left = MAX_RULES;
  const longest = Math.max(0, ...perConnection.map(({ length }) => length));
  for (let round = 0; round < longest; round += 1) {
    for (const [index, { length }] of perConnection.entries()) {
      if (left === 0 || length <= round) continue;
      counts[index] = round + 1;
      left -= 1;
    }
  }
  return perConnection.flatMap((rules, index) => rules.slice(0, counts[index]));
}

/** The rules of an instance that has its address already. */
function rulesOf(instance: NetworkInstance, instances: Iterable<NetworkInstance>): readonly FirewallRule[] {
  const connections = (instance.allowedConnections ?? []).map(readConnection);
  if (connections.length === 0) return [];
  return connect(connections, { ip: instance.ip, subnet: subnetOf(instance.ip) }, instances).rules;
}

/** The source is the instance that has the rule; not every SM says it again. */
const isSame = (a: FirewallRule, b: FirewallRule) =>
  a.dstIp === b.dstIp && a.dstPort === b.dstPort && (a.proto || 'tcp') === (b.proto || 'tcp');

const without = (rules: readonly FirewallRule[], known: readonly FirewallRule[]) =>
  rules.filter((rule) => !known.some((one) => isSame(one, rule)));

/** Rules that instances get because this one has come, has another address or exposes more than before. */
export function rulesTo(
  target: NetworkInstance,
  before: ReadonlyMap<string, NetworkInstance>,
  after: ReadonlyMap<string, NetworkInstance>,
): RulePush[] {
  // Most name another item or none: they cost one look.
  const isMeant = (text: string) => text.startsWith(`${target.ident.itemId}/`);
  return [...after.values()].flatMap((other): RulePush[] => {
    if (other === target || !other.allowedConnections?.some(isMeant)) return [];
    const rules = without(rulesOf(other, after.values()), rulesOf(other, before.values()));
    return rules.length === 0 ? [] : [{ nodeId: other.nodeId, ident: other.ident, rules }];
  });
}

/** Rules that an SM does not have although it should, given those that it has. */
export function missingRules(
  { instances }: NetworkState,
  nodeId: string,
  rulesAt: (key: string) => readonly FirewallRule[] | undefined,
): RulePush[] {
  return [...instances].flatMap(([key, instance]): RulePush[] => {
    const has = instance.nodeId === nodeId ? rulesAt(key) : undefined;
    if (!has) return [];
    const room = Math.max(0, MAX_RULES - has.length);
    const rules = without(rulesOf(instance, instances.values()), has).slice(0, room);
    return rules.length === 0 ? [] : [{ nodeId, ident: instance.ident, rules }];
  });
}

/** One push per requester, each rule once. */
export function mergePushes(...lists: readonly (readonly RulePush[])[]): RulePush[] {
  const merged = new Map<string, RulePush>();
  for (const push of lists.flat()) {
    const key = instanceKey(push.ident);
    const known = merged.get(key)?.rules ?? [];
    merged.set(key, { ...push, rules: [...known, ...without(push.rules, known)].slice(0, MAX_RULES) });
  }
  return [...merged.values()];
}

/** Rules for pending connections whose target is there now, one push per requester. */
export function resolvePending(state: NetworkState, isMeant: (pending: PendingConnection) => boolean): RulePush[] {
  const pushes = new Map<string, { nodeId: string; ident: RulePush['ident']; rules: FirewallRule[][] }>();
  for (const pending of state.pending.filter(isMeant)) {
    const { requester, nodeId, requesterIp, requesterSubnet, targetItemId, port, protocol } = pending;
    const connection = { itemId: targetItemId, port, protocol };
    const rules = rulesFor(connection, { ip: requesterIp, subnet: requesterSubnet }, state.instances.values());
    if (!rules || rules.length === 0) continue;
    const key = instanceKey(requester);
    const push = pushes.get(key) ?? { nodeId, ident: requester, rules: [] };
    push.rules.push(rules);
    pushes.set(key, push);
  }
  return [...pushes.values()].map(({ rules, ...push }) => ({ ...push, rules: fitting(rules) }));
}

/** True when one of the rules opens this connection. */
export function isOpened(pending: PendingConnection, rules: readonly FirewallRule[]): boolean {
  return rules.some(
    ({ dstPort, proto, srcIp }) =>
      dstPort === pending.port && proto === pending.protocol && srcIp === pending.requesterIp,
  );
}

/** Why something is as it is (spec/beyond.md P-03): from the wish over the placement to the node's own words. Pure. */
import { AosError, type ErrorInfo, instanceName } from '../../core/index.ts';
import type { UnitReport, WhyReason, WhyReport } from '../../daemon/index.ts';
import type { DecisionEvent } from '../events/index.ts';
import type { Placement } from '../launcher/index.ts';
import type { InstanceStatus, ItemStatus, NodeInfo } from '../model.ts';
import type { Desired } from '../updates/index.ts';

export interface WhyFacts {
  readonly cloud: Pick<UnitReport['cloud'], 'state' | 'since'>;
  readonly desired: Desired | undefined;
  readonly update: { readonly state: string; readonly since: string; readonly waitsFor?: string | undefined };
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
  readonly nodes: readonly NodeInfo[];
  readonly subjects: readonly string[];
  /** Where each instance would go now, with the reasons against the other places. */
  readonly placements: readonly Placement[];
  /** Of one thing, oldest first. */
  readonly events: (kind: WhyReport['kind'], id: string) => readonly DecisionEvent[];
}

/** Newest events that are told of one thing. */
const TOLD_EVENTS = 10;

/** Throws `notFound` with what there is to ask about. */
export function whyReport(name: string, facts: WhyFacts): WhyReport {
  if (name === 'update') return whyUpdate(facts);
  const node = facts.nodes.find(({ nodeId }) => nodeId === name);
  if (node) return whyNode(node, facts);
  if (instanceNames(facts).includes(name)) return whyInstance(name, facts);
  if (itemNames(facts).includes(name)) return whyItem(name, facts);
  const known = ['update', ...facts.nodes.map(({ nodeId }) => nodeId), ...itemNames(facts), ...instanceNames(facts)];
  const there = `nothing here is called ${name}; there is ${known.slice(0, 20).join(', ')}`;
  // Who has just deployed it looks for a mistake of his own otherwise.
  const { state, since } = facts.cloud;
  const missed = state === 'connected' ? '' : `; the cloud is not connected since ${since}: newer wishes are not known`;
  throw new AosError('notFound', `${there}${missed}`);
}

function instanceNames({ instances, desired }: WhyFacts): string[] {
  const wished = (desired?.instances ?? []).map(({ item, subject }) => `${item.id}/${subject.id}/0`);
  return [...new Set([...instances.map(({ ident }) => instanceName(ident)), ...wished])];
}

function itemNames({ items, desired }: WhyFacts): string[] {
  return [...new Set([...items.map(({ itemId }) => itemId), ...(desired?.items ?? []).map(({ item }) => item.id)])];
}

function whyInstance(id: string, facts: WhyFacts): WhyReport {
  const { desired, items, nodes, subjects } = facts;
  const status = facts.instances.find(({ ident }) => instanceName(ident) === id);
  const wish = desired?.instances.find(({ item, subject }) => id.startsWith(`${item.id}/${subject.id}/`));
  const itemId = status?.ident.itemId ?? wish?.item.id ?? '';
  const wanted = desired?.items.find(({ item }) => item.id === itemId);
  const reasons: WhyReason[] = [];

  if (status?.ident.preinstalled) reasons.push({ what: 'the node brought it along; no desired status can change it' });
  else if (!wish) reasons.push({ what: 'the desired status does not ask for it' });
  else {
    const count = wish.numInstances === undefined ? '' : `, ${wish.numInstances} of them`;
    reasons.push({
      what: `the desired status asks for it: subject ${wish.subject.id}, priority ${wish.priority}${count}`,
      ...(wish.labels.length > 0 && { because: `only on nodes with labels ${wish.labels.join(', ')}` }),
    });
    reasons.push(
      wanted
        ? { what: `its item is wanted in version ${wanted.version}` }
        : { what: 'the desired items do not name its item' },
    );
    const refused = desired?.refusals?.instances.find((one) => id.startsWith(`${one.itemId}/${one.subjectId}/`));
    if (refused) reasons.push({ what: 'an entry for it in the desired status is refused', ...causeOf(refused.error) });
    const subject = desired?.subjects.find(({ identity }) => identity.id === wish.subject.id);
    if (subject?.isReportedFromUnit && !subjects.includes(wish.subject.id)) {
      reasons.push({ what: `it must not run: IAM does not report subject ${wish.subject.id}` });
    }
  }
  reasons.push(...waitsOf(facts, itemId));
  for (const row of items.filter((row) => row.itemId === itemId && row.state !== 'removed')) {
    reasons.push({ what: `item version ${row.version} is ${row.state}`, ...causeOf(row.error) });
  }
  if (status) reasons.push(...placeOf(status, facts));
  const node = nodes.find(({ nodeId }) => nodeId === status?.nodeId);
  if (node && (!node.isConnected || node.state !== 'provisioned')) reasons.push(nodeReason(node));
  if (status?.error) {
    const what = `its ${status.nodeId ? 'node' : 'placement'} reports an error`;
    reasons.push({ what, ...causeOf(status.error, status.reason) });
  }
  reasons.push(...toldOf(facts, 'instance', id));
  const place = status?.nodeId ? ` on node ${status.nodeId}` : '';
  return {
    kind: 'instance',
    id,
    now: status ? `version ${status.version || 'unknown'} is ${status.state}${place}` : 'it does not exist',
    reasons,
  };
}

function placeOf(status: InstanceStatus, { placements }: WhyFacts): WhyReason[] {
  const placement = placements.find(({ wanted }) => instanceName(wanted.ident) === instanceName(status.ident));
  const chosen: WhyReason[] = status.nodeId
    ? [{ what: `it was placed on node ${status.nodeId}`, ...(status.because && { because: status.because }) }]
    : [{ what: 'it has no place', ...(status.because && { because: status.because }) }];
  const others = (placement?.notChosen ?? []).map(
    ({ nodeId, runtimeId, because }): WhyReason => ({
      what: `not on ${nodeId}${runtimeId ? `, runtime ${runtimeId}` : ''}`,
      because,
    }),
  );
  return [...chosen, ...others];
}

function whyItem(id: string, facts: WhyFacts): WhyReport {
  const rows = facts.items.filter(({ itemId }) => itemId === id);
  const wanted = facts.desired?.items.find(({ item }) => item.id === id);
  const used = facts.instances.filter(({ ident }) => ident.itemId === id);
  return {
    kind: 'item',
    id,
    now:
      rows.map(({ version, state }) => `version ${version} is ${state}`).join(', ') || 'nothing of it is on the unit',
    reasons: [
      { what: wanted ? `the desired status wants version ${wanted.version}` : 'the desired status does not name it' },
      ...waitsOf(facts, id),
      ...rows.flatMap(({ version, error }) =>
        error ? [{ what: `version ${version} has an error`, ...causeOf(error) }] : [],
      ),
      ...used.map((one) => ({ what: `${instanceName(one.ident)} uses version ${one.version}` })),
      ...toldOf(facts, 'item', id),
    ],
  };
}

function whyNode(node: NodeInfo, facts: WhyFacts): WhyReport {
  const here = facts.instances.filter(({ nodeId }) => nodeId === node.nodeId);
  const order = facts.desired?.nodes.find(({ item }) => item.codename === node.nodeId);
  return {
    kind: 'node',
    id: node.nodeId,
    now: `${node.state}, ${node.isConnected ? 'connected' : 'not connected'}, ${counted(here.length)}`,
    reasons: [
      ...(order ? [{ what: `the desired status orders it to be ${order.state}` }] : []),
      nodeReason(node),
      ...here.map((one) => ({
        what: `${instanceName(one.ident)} is ${one.state}`,
        ...(one.error ? causeOf(one.error, one.reason) : one.because && { because: one.because }),
      })),
      ...toldOf(facts, 'node', node.nodeId),
    ],
  };
}

const counted = (instances: number): string =>
  instances === 0 ? 'no instances' : instances === 1 ? '1 instance' : `${instances} instances`;

function whyUpdate(facts: WhyFacts): WhyReport {
  const { update, items, instances } = facts;
  const { state, since, waitsFor } = update;
  const stuck = [
    ...items
      .filter(({ state }) => state === 'downloading' || state === 'failed')
      .map((row) => ({ what: `item ${row.itemId} ${row.version} is ${row.state}`, ...causeOf(row.error) })),
    ...instances
      .filter(({ state }) => state === 'activating')
      .map((one) => ({ what: `${instanceName(one.ident)} is activating${one.nodeId ? ` on ${one.nodeId}` : ''}` })),
  ];
  return {
    kind: 'update',
    id: 'update',
    now: state === 'none' ? noUpdate(since) : `${state} since ${since}`,
    reasons: [
      ...(waitsFor === undefined ? [] : [{ what: 'it waits', because: waitsFor }]),
      ...stuck,
      ...toldOf(facts, 'update', 'update'),
    ],
  };
}

/** The beginning of time stands for never. */
const noUpdate = (since: string): string =>
  Date.parse(since) === 0 ? 'none has run yet' : `none runs since ${since}, when the last one ended`;

/** Blobs that do not come and a disk that is full are told of the update, whichever item they are of. */
function waitsOf(facts: WhyFacts, itemId: string): WhyReason[] {
  const { cloud, update, items } = facts;
  if (update.state === 'none') return [];
  const isMissing = items.some((row) => row.itemId === itemId && row.state === 'downloading');
  const waits = { what: `an update is ${update.state}`, ...(update.waitsFor && { because: update.waitsFor }) };
  if (!isMissing) return [waits];
  const away = { what: `the cloud, which says where blobs are, is not connected since ${cloud.since}` };
  return [waits, ...(cloud.state === 'connected' ? [] : [away]), ...toldOf(facts, 'update', 'update').slice(-1)];
}

function nodeReason({ nodeId, state, isConnected, error, attrs }: NodeInfo): WhyReason {
  const roles = 'MainNode' in attrs ? ', the main node,' : '';
  const what = `node ${nodeId}${roles} is ${state} and ${isConnected ? 'connected' : 'not connected'}`;
  return { what, ...causeOf(error) };
}

function causeOf(error: ErrorInfo | undefined, words = error?.message): { readonly because?: string } {
  if (!error) return {};
  const exit = error.exitCode === 0 ? '' : `, exit code ${error.exitCode}`;
  return { because: `${words || 'no text'} (error ${error.aosCode}${exit})` };
}

function toldOf({ events }: WhyFacts, kind: WhyReport['kind'], id: string): WhyReason[] {
  return events(kind, id)
    .slice(-TOLD_EVENTS)
    .map(({ at, what, because }) => ({ at, what, because }));
}

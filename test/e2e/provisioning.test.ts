/**
 * A unit of several nodes, from blank to provisioned to renewed to blank again: real IAMs with tokens of their own, real
 * service managers, containers that must not notice.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DaemonEvent } from '../../devenv/index.ts';
import { SecondNode } from '../../devenv/second-node.ts';
import type { CloudUnit } from '../../src/cli/cloud-views.ts';
import { nodesOf } from '../../src/cli/cloud-views.ts';
import { askControl } from '../../src/daemon/index.ts';
import type { IamStatus } from '../../src/iam/servers/status.ts';
import { shownSerial } from '../component/shown-serial.ts';
import { busyboxLayer, writeImage } from './image.ts';
import { type RunningInstance, World } from './world.ts';

const STORY_MS = 240_000;
/** Types and nodes of the whole unit. */
const MAIN_TYPES = ['cm', 'iam', 'offline', 'online', 'sm'];
const SECOND_TYPES = ['iam', 'sm'];

let world: World;
let second: SecondNode;
let later: SecondNode | undefined;

interface CloudCertificate {
  readonly nodeId: string;
  readonly type: string;
  readonly serial: string;
  readonly revokedAt: string | null;
}

const startNode = (nodeId: string) =>
  SecondNode.start(join(world.directory, nodeId), {
    ...{ main: world.unit, caFile: world.cloud.layout.rootCa, nodeId, restartPauseMs: 50, verbose: 'debug' },
  });

const iamOf = (node: { readonly layout: { readonly sockets: { readonly iam: string } } }) =>
  askControl<IamStatus>(node.layout.sockets.iam, '/status');

/** Nodes as the cloud sees them: `name state connected`. */
const nodesSeen = (unit: CloudUnit) =>
  nodesOf(unit)
    .map(({ nodeId, state, connected }) => `${nodeId} ${state} ${connected ? 'connected' : 'gone'}`)
    .sort();

const runningOn = (node: SecondNode) => askControl<RunningInstance[]>(node.layout.sockets.sm, '/instances');

const certificates = () => world.rest.get<CloudCertificate[]>(`/api/units/${world.systemId}/certificates`);

/** The messages of one type, newest last. */
async function messages(type: string): Promise<string[]> {
  const all = await world.rest.get<unknown[]>(`/api/units/${world.systemId}/messages?limit=1000`);
  return all.map((message) => JSON.stringify(message)).filter((text) => text.includes(`"${type}"`));
}

/** Waits until these messages about a node stand in the log of the cloud, each without an error. */
async function untilSaid(nodeId: string, ...types: readonly string[]): Promise<void> {
  interface Said {
    readonly messageType: string;
    readonly data?: { readonly node?: { readonly codename?: string }; readonly errorInfo?: unknown };
  }
  await world.until(
    `${types.join(' and ')} are said of ${nodeId}`,
    () => world.rest.get<Said[]>(`/api/units/${world.systemId}/messages?limit=1000`),
    (all) => {
      const done = all.filter(({ data }) => data?.node?.codename === nodeId && data.errorInfo === undefined);
      return types.every((type) => done.some(({ messageType }) => messageType === type));
    },
  );
}

async function publish(itemId: string, version: string): Promise<void> {
  const directory = await writeImage(join(world.directory, `image-${itemId}-${version}`), {
    cmd: ['/bin/sh', '-c', 'while :; do sleep 1000; done'],
    layers: [busyboxLayer(), [{ name: 'version', content: `${itemId} ${version}\n` }]],
  });
  await world.must('publish', directory, '--id', itemId, '--version', version);
}

beforeAll(async () => {
  world = await World.create();
  second = await startNode('second');
}, STORY_MS);

afterAll(async () => {
  await later?.stop();
  await second?.stop();
  await world?.close();
}, STORY_MS);

test(
  '[W1] [IAM-21] of a blank unit only the IAMs run, and the main one lists every node as unprovisioned',
  async () => {
    const programs = (events: readonly DaemonEvent[]) => [...new Set(events.map(({ program }) => program))];
    expect(programs(world.unit.supervisor.history)).toEqual(['aos-iam']);
    expect(programs(second.history)).toEqual(['aos-iam']);
    const status = await world.until(
      'both nodes are listed',
      () => iamOf(world.unit),
      ({ nodes }) => nodes?.length === 2,
    );
    expect(status.mode).toBe('provisioning');
    expect(status.nodes!.map(({ nodeId, state }) => `${nodeId} ${state}`).sort()).toEqual([
      'main unprovisioned',
      'second unprovisioned',
    ]);
  },
  STORY_MS,
);

test(
  '[W2] [P-07] [X-09] one command provisions both nodes, and both come online by themselves',
  async () => {
    const since = second.history.length;
    await world.must('provision', world.unit.provisioningAddress, '--nodes', '2', '--retry-delay', '1');
    await second.untilReady('aos-sm', since);
    const unit = await world.untilCloud(
      'both nodes are connected',
      (seen) => seen.online && nodesSeen(seen).filter((node) => node.endsWith('provisioned connected')).length === 2,
    );
    expect(nodesSeen(unit)).toEqual(['main provisioned connected', 'second provisioned connected']);
    expect((await iamOf(world.unit)).certificates.map(({ type }) => type).sort()).toEqual(MAIN_TYPES);
    expect((await iamOf(second)).certificates.map(({ type }) => type).sort()).toEqual(SECOND_TYPES);
    // Each node has keys, PIN and token of its own.
    expect(await readFile(second.layout.pinFile, 'utf8')).not.toBe(await readFile(world.unit.layout.pinFile, 'utf8'));
  },
  STORY_MS,
);

test(
  '[W2] [X-12] [CM-129] a node that is added later is provisioned through the cloud, and runs instances',
  async () => {
    later = await startNode('later');
    await world.untilCloud('the cloud sees it blank', (unit) =>
      nodesSeen(unit).includes('later unprovisioned connected'),
    );
    const since = later.history.length;
    await world.must('node', 'provision', 'later', '--unit', world.systemId);
    await later.untilReady('aos-sm', since);
    await world.untilCloud('it is a node of the unit', (unit) =>
      nodesSeen(unit).includes('later provisioned connected'),
    );
    expect((await iamOf(later)).certificates.map(({ type }) => type).sort()).toEqual(SECOND_TYPES);
    await untilSaid('later', 'startProvisioningRequest', 'startProvisioningResponse');
    await untilSaid('later', 'finishProvisioningRequest', 'finishProvisioningResponse');

    await publish('steady', '1.0.0');
    await world.deploy('steady', '1.0.0', '--instances', '3');
  },
  STORY_MS,
);

test(
  '[W13] [R-09] [X-01] certificates of all types on all nodes are renewed under traffic; nothing restarts, nothing is lost',
  async () => {
    const nodes = [second, later!];
    const ports = await Promise.all(
      [world.unit, ...nodes].map(async ({ layout }) => {
        const { iamPublic, cm } = JSON.parse(await readFile(layout.ports, 'utf8')) as Record<string, number>;
        return { iamPublic: iamPublic!, cm: cm! };
      }),
    );
    const root = await readFile(world.cloud.layout.rootCa, 'utf8');
    const before = await certificates();
    const pidsBefore = daemonPids();
    const instancesBefore = await allInstances();
    const histories = () =>
      [world.unit.supervisor.history, ...nodes.map((node) => node.history)].map((all) => all.length);
    const eventsBefore = histories();
    await publish('busy', '1.0.0');

    await world.must('renew', '--unit', world.systemId);
    // Traffic: deployments go on all the while.
    const traffic = (async () => {
      for (let round = 0; round < 5; round += 1) {
        await world.deploy('busy', '1.0.0');
        await world.must('undeploy', 'busy', '--unit', world.systemId, '--wait', '60');
      }
    })();
    const keyOf = ({ nodeId, type }: CloudCertificate) => `${nodeId} ${type}`;
    const old = new Set(before.map(({ serial }) => serial.toLowerCase()));
    const wanted = [
      ...MAIN_TYPES.map((type) => `main ${type}`),
      ...['second', 'later'].flatMap((n) => SECOND_TYPES.map((t) => `${n} ${t}`)),
    ];
    await world.until('every certificate is renewed', certificates, (all) => {
      const renewed = new Set(all.filter(({ serial }) => !old.has(serial.toLowerCase())).map(keyOf));
      return wanted.every((key) => renewed.has(key));
    });
    const confirmed = await world.until(
      'the unit has confirmed',
      () => messages('installUnitCertificatesConfirmation'),
      (all) => all.length > 0,
    );
    expect(confirmed.join()).not.toMatch(/errorInfo/);
    await traffic;

    // Servers show the new certificates.
    const newSerial = async (nodeId: string, type: string) =>
      (await certificates())
        .filter((entry) => entry.nodeId === nodeId && entry.type === type && !old.has(entry.serial.toLowerCase()))
        .map(({ serial }) => serial.toLowerCase());
    for (const [index, nodeId] of ['main', 'second', 'later'].entries()) {
      await world.until(
        `IAM of ${nodeId} shows its new certificate`,
        async () => (await newSerial(nodeId, 'iam')).includes(await shownSerial(ports[index]!.iamPublic, root)),
        (shown) => shown,
      );
    }
    await world.until(
      'the unit is whole',
      () => world.cloudUnit(),
      (unit) => unit.online && nodesSeen(unit).filter((node) => node.endsWith('provisioned connected')).length === 3,
    );
    expect(daemonPids()).toEqual(pidsBefore);
    expect(histories()).toEqual(eventsBefore);
    expect(await allInstances()).toEqual(instancesBefore);

    // A message in either direction goes through all the renewed links.
    await publish('after', '1.0.0');
    await world.deploy('after', '1.0.0', '--instances', '3');
    await world.must('undeploy', 'after', '--unit', world.systemId, '--wait', '60');
  },
  STORY_MS,
);

/** The processes of all daemons of the unit. */
function daemonPids(): (number | undefined)[] {
  const { supervisor } = world.unit;
  return [
    ...(['aos-iam', 'aos-cm', 'aos-sm'] as const).map((name) => supervisor.daemon(name).pid),
    ...[second, later!].flatMap((node) => (['aos-iam', 'aos-sm'] as const).map((name) => node.daemon(name).pid)),
  ];
}

/** Instances of `steady` with their processes. */
async function allInstances(): Promise<string[]> {
  const lists = [await world.running('steady'), ...(await Promise.all([second, later!].map(runningOn)))];
  return lists
    .flat()
    .filter(({ itemId }) => itemId === 'steady')
    .map(({ id, pid, state }) => `${id} ${pid} ${state}`)
    .sort();
}

test(
  '[W17] [IAM-29] [O-10] [CM-129] a node is taken out through the cloud, is blank, and is provisioned again',
  async () => {
    const node = later!;
    const pin = await readFile(node.layout.pinFile, 'utf8');
    const serials = (await iamOf(node)).certificates.map(({ serial }) => serial);
    await world.must('node', 'deprovision', 'later', '--unit', world.systemId);
    await world.untilCloud('the cloud sees it blank', (unit) =>
      nodesSeen(unit).includes('later unprovisioned connected'),
    );
    const blank = await world.until(
      'IAM is in provisioning mode',
      () => iamOf(node),
      ({ mode }) => mode === 'provisioning',
    );
    expect(blank.certificates).toEqual([]);
    expect(existsSync(node.layout.stateFile)).toBe(false);
    expect(existsSync(node.layout.pinFile)).toBe(false);
    const revoked = (await certificates()).filter((entry) => entry.nodeId === 'later');
    expect(revoked.every(({ revokedAt }) => revokedAt !== null)).toBe(true);
    await untilSaid('later', 'deprovisioningRequest', 'deprovisioningResponse');

    const since = node.history.length;
    await world.must('node', 'provision', 'later', '--unit', world.systemId);
    await node.untilReady('aos-sm', since);
    await world.untilCloud('it is a node of the unit', (unit) =>
      nodesSeen(unit).includes('later provisioned connected'),
    );
    expect(await readFile(node.layout.pinFile, 'utf8')).not.toBe(pin);
    const now = (await iamOf(node)).certificates.map(({ serial }) => serial);
    expect(now.filter((serial) => serials.includes(serial))).toEqual([]);
  },
  STORY_MS,
);

test(
  '[W17] [IAM-29] [CM-129] the main node is not taken out by a message',
  async () => {
    await world.must('node', 'deprovision', 'main', '--unit', world.systemId);
    const answers = await world.until(
      'the unit has answered',
      () => messages('deprovisioningResponse'),
      (all) => all.some((text) => text.includes('"codename":"main"')),
    );
    expect(answers.find((text) => text.includes('"codename":"main"'))).toMatch(/errorInfo/);
    expect(world.unit.supervisor.provisioned).toBe(true);
  },
  STORY_MS,
);

test(
  '[W17] [O-10] [P-07] the main node is made blank on the spot, reset in the cloud, and provisioned again; a node is forgotten',
  async () => {
    await later?.stop();
    await world.until(
      'the main node misses it',
      () => iamOf(world.unit),
      ({ nodes }) => nodes?.some(({ nodeId, connected }) => nodeId === 'later' && !connected) === true,
    );
    await world.must('node', 'forget', 'later');
    expect((await iamOf(world.unit)).nodes!.map(({ nodeId }) => nodeId).sort()).toEqual(['main', 'second']);

    await second.stop();
    const serials = (await iamOf(world.unit)).certificates.map(({ serial }) => serial);
    execFileSync(join(world.unit.layout.etc, 'hooks', 'deprovision'), ['async']);
    await world.until(
      'IAM is in provisioning mode',
      () => iamOf(world.unit),
      ({ mode, certificates: left }) => mode === 'provisioning' && left.length === 0,
    );
    const refused = await world.ctl('provision', world.unit.provisioningAddress, '--retry-count', '0');
    expect(refused.stderr).toMatch(/delete or reset it there first/);
    await world.must('reset', world.systemId);
    await world.provision();
    const now = (await iamOf(world.unit)).certificates.map(({ serial }) => serial);
    expect(now).toHaveLength(MAIN_TYPES.length);
    expect(now.filter((serial) => serials.includes(serial))).toEqual([]);
  },
  STORY_MS,
);

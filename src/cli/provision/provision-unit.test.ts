import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { AosError, type Clock } from '../../core/index.ts';
import { UNREACHABLE } from '../exit-codes.ts';
import type { ProvisioningTarget } from './iam-target.ts';
import { checkSoftware, generatePassword, type ProvisioningCloud, provisionUnit } from './provision-unit.ts';

/** A clock whose waits are over at once, so that a story of minutes takes none. */
function fastClock(): Clock {
  let nowMs = 0;
  return {
    monotonicMs: () => nowMs,
    now: () => new Date(0),
    sleep: async (durationMs) => {
      nowMs += durationMs;
    },
  };
}

interface Story {
  readonly calls: string[];
  readonly target: ProvisioningTarget;
  readonly cloud: ProvisioningCloud & { registration?: Record<string, unknown> };
}

const TYPES: Readonly<Record<string, string[]>> = { main: ['online', 'offline', 'iam'], second: ['iam'] };

/** A blank unit of these nodes, and a cloud that signs everything; both write down what was asked of them. */
function story(nodeIds: readonly string[], change: Partial<ProvisioningTarget> = {}, status?: string): Story {
  const calls: string[] = [];
  const passwords = new Map<string, string>();
  const target: ProvisioningTarget = {
    address: 'unit:8089',
    apiVersion: async () => 6,
    systemInfo: async () => create(iam.SystemInfoSchema, { systemId: 'unit-1', unitModel: 'vm', version: '1.0' }),
    nodeIds: async () => [...nodeIds],
    nodeInfo: async (nodeId) =>
      create(iam.NodeInfoSchema, {
        nodeId,
        state: 'unprovisioned',
        attrs: nodeId === 'main' ? [{ name: 'MainNode', value: '' }] : [],
      }),
    startProvisioning: async (nodeId, password) => {
      calls.push(`start ${nodeId}`);
      passwords.set(nodeId, password);
      return true;
    },
    certTypes: async (nodeId) => TYPES[nodeId] ?? [],
    createKey: async (nodeId, type, password) => {
      expect(password).toBe(passwords.get(nodeId));
      calls.push(`key ${nodeId} ${type}`);
      return { nodeId, type, csr: `csr ${nodeId} ${type}` };
    },
    applyCert: async (nodeId, type, chain) => {
      calls.push(`apply ${nodeId} ${type} ${chain}`);
    },
    finishProvisioning: async (nodeId, password) => {
      expect(password).toBe(passwords.get(nodeId));
      calls.push(`finish ${nodeId}`);
      return true;
    },
    ...change,
  };
  const cloud: Story['cloud'] = {
    url: 'https://cloud:10000',
    get: async <T>(path: string) =>
      (path.endsWith('/users/me/')
        ? { role: 'oem' }
        : { items: status === undefined ? [] : [{ id: 7, status }], total: 1 }) as T,
    send: async <T>(_: 'POST', path: string, value: unknown) => {
      calls.push(`POST ${path}`);
      cloud.registration = value as Record<string, unknown>;
      const additional = cloud.registration.additional_csrs as { cert_type: string; node_id: string }[];
      return {
        online_certificate: 'chain-online',
        offline_certificate: 'chain-offline',
        additional_certs: additional.map(({ cert_type, node_id }) => ({
          cert_type,
          node_id,
          cert: `chain-${node_id}`,
        })),
      } as T;
    },
  };
  return { calls, target, cloud };
}

function provision({ target, cloud }: Pick<Story, 'target' | 'cloud'>, nodes = 1, notes: string[] = []) {
  return provisionUnit(target, cloud, {
    nodes,
    waitMs: 5000,
    retryCount: 2,
    retryDelayMs: 5000,
    clock: fastClock(),
    signal: new AbortController().signal,
    progress: (text) => notes.push(text),
  });
}

const unreachable = () => new AosError('failed', 'cannot reach it', { fields: UNREACHABLE });

test('[P-07] one node: own the tokens, make all keys, register once, apply all, finish', async () => {
  const unit = story(['main']);
  const result = await provision(unit);
  expect(unit.calls).toEqual([
    'start main',
    'key main online',
    'key main offline',
    'key main iam',
    'POST /api/v11/units/provisioning/',
    'apply main online chain-online',
    'apply main offline chain-offline',
    'apply main iam chain-main',
    'finish main',
  ]);
  expect(result).toMatchObject({ systemId: 'unit-1', nodes: ['main'] });
});

test('[P-07] several nodes: the main node is prepared first and finished last, each with its own password', async () => {
  const unit = story(['second', 'main']);
  await provision(unit, 2);
  expect(unit.calls.filter((call) => call.startsWith('start'))).toEqual(['start main', 'start second']);
  expect(unit.calls.filter((call) => call.startsWith('finish'))).toEqual(['finish second', 'finish main']);
  expect(unit.calls.filter((call) => call.startsWith('POST'))).toHaveLength(1);
  const { nodes } = JSON.parse(String(unit.cloud.registration?.secure_data)) as { nodes: Record<string, string> };
  expect(nodes.main).not.toBe(nodes.second);
});

test('nodes that come late are waited for', async () => {
  let asked = 0;
  const unit = story(['main', 'second'], { nodeIds: async () => (++asked < 4 ? ['main'] : ['main', 'second']) });
  await provision(unit, 2);
  expect(unit.calls).toContain('finish second');
});

test('a unit that is not there yet is waited for as long as was said, and no longer', async () => {
  let tries = 0;
  const late = story(['main'], {
    apiVersion: async () => {
      tries += 1;
      if (tries < 4) throw unreachable();
      return 6;
    },
  });
  await provision(late);
  expect(tries).toBe(4);
  const never = story(['main'], { apiVersion: () => Promise.reject(unreachable()) });
  await expect(provision(never)).rejects.toThrow(/cannot reach it/);
  expect(never.calls).toEqual([]);
});

test('a unit that the cloud has provisioned already is refused before anything is changed', async () => {
  const unit = story(['main'], {}, 'provisioned');
  await expect(provision(unit)).rejects.toThrow(/has unit unit-1 as "provisioned" already; delete or reset it/);
  expect(unit.calls).toEqual([]);
});

test('a unit that the cloud has as new is provisioned', async () => {
  expect(await provision(story(['main'], {}, 'new'))).toMatchObject({ unitId: '7' });
});

test('only an OEM may provision', async () => {
  const unit = story(['main']);
  const cloud = { ...unit.cloud, get: async <T>() => ({ role: 'sp', username: 'eve' }) as T };
  await expect(provision({ target: unit.target, cloud })).rejects.toThrow(/eve as "sp", but only an OEM/);
  expect(unit.calls).toEqual([]);
});

test('a cloud that fails for a moment is asked again, a refusal is not', async () => {
  const unit = story(['main']);
  let tries = 0;
  const flaky: ProvisioningCloud = {
    ...unit.cloud,
    send: async (method, path, value) => {
      tries += 1;
      if (tries < 3) throw new AosError('failed', 'answered 502', { exitCode: 502 });
      return unit.cloud.send(method, path, value);
    },
  };
  await provision({ target: unit.target, cloud: flaky });
  expect(tries).toBe(3);
  let refusals = 0;
  const refusing: ProvisioningCloud = {
    ...unit.cloud,
    send: () => {
      refusals += 1;
      return Promise.reject(new AosError('failed', 'answered 400: unit limit reached', { exitCode: 400 }));
    },
  };
  await expect(provision({ target: story(['main']).target, cloud: refusing })).rejects.toThrow(/unit limit reached/);
  expect(refusals).toBe(1);
});

test('a failure behind the registration says that the cloud must be cleaned first', async () => {
  const unit = story(['main'], { applyCert: () => Promise.reject(new AosError('notFound', 'no key fits')) });
  await expect(provision(unit)).rejects.toThrow(/no key fits.*delete or reset it there before the next try/);
});

test('a connection that ends with start or finish is no failure', async () => {
  const unit = story(['main'], { startProvisioning: async () => false, finishProvisioning: async () => false });
  const change = { createKey: async (nodeId: string, type: string) => ({ nodeId, type, csr: 'csr' }) };
  const notes: string[] = [];
  await provision({ target: { ...unit.target, ...change }, cloud: unit.cloud }, 1, notes);
  expect(notes.filter((note) => note.includes('the connection ended'))).toHaveLength(2);
});

test.each([
  ['a node id with white space', { nodeId: ' main' }, /id " main" of node main begins or ends with white space/],
  ['a node that is provisioned already', { state: 'provisioned' }, /node main is provisioned; deprovision it first/],
  ['no main node', { attrs: [] }, /0 of the nodes main have the attribute MainNode/],
])('refused with its reason: %s', async (_, change, reason) => {
  const info = { nodeId: 'main', state: 'unprovisioned', attrs: [{ name: 'MainNode', value: '' }], ...change };
  const unit = story(['main'], { nodeInfo: async () => create(iam.NodeInfoSchema, info) });
  await expect(provision(unit)).rejects.toThrow(reason);
  expect(unit.calls).toEqual([]);
});

test('a unit of another API version is refused', async () => {
  await expect(provision(story(['main'], { apiVersion: async () => 5 }))).rejects.toThrow(
    /speaks version 5 .* speaks 6/,
  );
});

test('passwords are 15 letters and digits, and never the same', () => {
  const passwords = new Set(Array.from({ length: 100 }, generatePassword));
  expect(passwords.size).toBe(100);
  for (const password of passwords) expect(password).toMatch(/^[A-Za-z0-9]{15}$/);
});

test('a cloud that takes only newer tools is refused', async () => {
  const cloudWanting = (least: string): ProvisioningCloud => ({
    ...story([]).cloud,
    get: async <T>() => ({ software: [{ name: 'aos-provisioning', min_version: least }] }) as T,
  });
  await expect(checkSoftware(cloudWanting('99.0.0'))).rejects.toThrow(/newer than 99.0.0; update aosctl/);
  await checkSoftware(cloudWanting('1.0.0'));
});

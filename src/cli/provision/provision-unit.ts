/** The flow from a blank unit to a provisioned one (spec/provisioning.md 3 and 4). */
import { randomInt } from 'node:crypto';
import type { iam } from '../../api/contracts.ts';
import { AosError, asAosError, type Clock, compareVersions } from '../../core/index.ts';
import type { CreatedKey, ProvisioningTarget } from './iam-target.ts';
import {
  PROVISIONING_SOFTWARE,
  type PreparedNode,
  readRegistrationAnswer,
  registrationRequest,
} from './registration.ts';

/** What the flow needs of a cloud. */
export interface ProvisioningCloud {
  readonly url: string;
  get<T>(path: string): Promise<T>;
  send<T>(method: 'POST', path: string, value: unknown): Promise<T>;
}

export interface ProvisionOptions {
  /** Nodes to wait for. */
  readonly nodes: number;
  /** How long an unreachable unit is waited for, in milliseconds. */
  readonly waitMs: number;
  /** Repetitions of a cloud call that failed for a reason that may pass, and the pause between them. */
  readonly retryCount: number;
  readonly retryDelayMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told what is done next. */
  readonly progress: (text: string) => void;
}

export interface ProvisionResult {
  readonly systemId: string;
  readonly unitId: string;
  readonly nodes: readonly string[];
  readonly url: string;
}

/** Version of IAM's API that this flow speaks. */
const API_VERSION = 6;
const MAIN_NODE_ATTRIBUTE = 'MainNode';
const NODE_POLL_MS = 1000;
const PASSWORD_CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const PASSWORD_LENGTH = 15;
const API = '/api/v11';

/** A node password: the security officer's PIN of its tokens. */
export function generatePassword(): string {
  return Array.from({ length: PASSWORD_LENGTH }, () => PASSWORD_CHARACTERS[randomInt(PASSWORD_CHARACTERS.length)]).join(
    '',
  );
}

interface UnitList {
  readonly items?: readonly { readonly id: string | number; readonly status?: string }[];
  readonly total?: number;
}

/** Drives the whole flow. Throws with the step that failed, and what to do about it. */
export async function provisionUnit(
  target: ProvisioningTarget,
  cloud: ProvisioningCloud,
  options: ProvisionOptions,
): Promise<ProvisionResult> {
  const { progress } = options;
  progress(`asking ${cloud.url} who we are`);
  await checkOperator(cloud, options);
  progress(`asking ${target.address} who it is`);
  await waitForUnit(target, options);
  const system = await target.systemInfo();
  await checkUnitIsNew(cloud, system.systemId, options);
  progress(`waiting for ${options.nodes} node(s) of ${system.systemId}`);
  const nodes = await collectNodes(target, options);

  const prepared: PreparedNode[] = [];
  for (const info of nodes) prepared.push(await prepareNode(target, info, progress));

  progress(`registering ${system.systemId} at ${cloud.url}`);
  const request = registrationRequest(system, prepared);
  const answer = await retrying(options, () => cloud.send('POST', `${API}/units/provisioning/`, request));
  const keys: CreatedKey[] = prepared.flatMap((node) => [...node.keys]);
  for (const { nodeId, type, chain } of readRegistrationAnswer(answer, keys)) {
    progress(`node ${nodeId}: applying the certificate ${type}`);
    await afterRegistration(system.systemId, () => target.applyCert(nodeId, type, chain));
  }
  // The main node last: with its end the whole unit restarts.
  for (const { info, password } of [...prepared.slice(1), prepared[0]!]) {
    progress(`node ${info.nodeId}: finishing`);
    const answered = await afterRegistration(system.systemId, () => target.finishProvisioning(info.nodeId, password));
    if (!answered) progress(`node ${info.nodeId}: the connection ended with the step; it restarts`);
  }
  const unit = (await findUnit(cloud, system.systemId, options)).items?.[0];
  return {
    systemId: system.systemId,
    unitId: String(unit?.id ?? system.systemId),
    nodes: nodes.map((node) => node.nodeId),
    url: cloud.url,
  };
}

async function checkOperator(cloud: ProvisioningCloud, options: ProvisionOptions): Promise<void> {
  const me = await retrying(options, () => cloud.get<{ role?: string; username?: string }>(`${API}/users/me/`));
  if (me.role?.toLowerCase() !== 'oem') {
    throw new AosError(
      'failed',
      `${cloud.url} knows ${me.username ?? 'this certificate'} as "${me.role ?? 'nobody'}", but only an OEM may provision; use an OEM's certificate`,
    );
  }
}

async function waitForUnit(target: ProvisioningTarget, options: ProvisionOptions): Promise<void> {
  const version = await untilReachable(() => target.apiVersion(), options);
  if (version !== API_VERSION) {
    throw new AosError(
      'notSupported',
      `the unit speaks version ${version} of IAM's API, this tool speaks ${API_VERSION}`,
    );
  }
}

async function untilReachable<T>(ask: () => Promise<T>, options: ProvisionOptions): Promise<T> {
  const { clock, signal, waitMs } = options;
  const deadline = clock.monotonicMs() + waitMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (asAosError(error).fields.unreachable !== true || clock.monotonicMs() >= deadline) throw error;
      await clock.sleep(NODE_POLL_MS, signal);
    }
  }
}

function findUnit(cloud: ProvisioningCloud, systemId: string, options: ProvisionOptions): Promise<UnitList> {
  return retrying(options, () => cloud.get<UnitList>(`${API}/units/?system_uid=${encodeURIComponent(systemId)}`));
}

async function checkUnitIsNew(cloud: ProvisioningCloud, systemId: string, options: ProvisionOptions): Promise<void> {
  const status = (await findUnit(cloud, systemId, options)).items?.[0]?.status;
  if (status === undefined || status.toLowerCase() === 'new') return;
  throw new AosError(
    'wrongState',
    `the cloud has unit ${systemId} as "${status}" already; delete or reset it there first, then provision again`,
  );
}

/** Waits for the nodes and puts the main node first. */
async function collectNodes(target: ProvisioningTarget, options: ProvisionOptions): Promise<iam.NodeInfo[]> {
  let ids = await target.nodeIds();
  while (ids.length < options.nodes) {
    options.progress(`${ids.length} of ${options.nodes} nodes are there: ${ids.join(', ') || 'none'}`);
    await options.clock.sleep(NODE_POLL_MS, options.signal);
    ids = await target.nodeIds();
  }
  const nodes: iam.NodeInfo[] = [];
  for (const id of ids) nodes.push(await target.nodeInfo(id));
  for (const node of nodes) checkNode(node);
  const isMain = (node: iam.NodeInfo) => node.attrs.some((attribute) => attribute.name === MAIN_NODE_ATTRIBUTE);
  const main = nodes.filter(isMain);
  if (main.length !== 1) {
    throw new AosError(
      'failed',
      `${main.length} of the nodes ${ids.join(', ')} have the attribute ${MAIN_NODE_ATTRIBUTE}, expected exactly one; see "attrs" in their iam.cfg`,
    );
  }
  return [main[0]!, ...nodes.filter((node) => !isMain(node))];
}

function checkNode(node: iam.NodeInfo): void {
  for (const [name, text] of [
    ['id', node.nodeId],
    ['type', node.nodeType],
    ['name', node.title],
  ] as const) {
    if (text !== text.trim()) {
      throw new AosError(
        'failed',
        `the ${name} "${text}" of node ${node.nodeId.trim()} begins or ends with white space`,
      );
    }
  }
  if (node.state !== '' && node.state !== 'unprovisioned') {
    throw new AosError('wrongState', `node ${node.nodeId} is ${node.state}; deprovision it first`);
  }
}

/** Owns the tokens of a node and makes all its keys. */
async function prepareNode(
  target: ProvisioningTarget,
  info: iam.NodeInfo,
  progress: (text: string) => void,
): Promise<PreparedNode> {
  const { nodeId } = info;
  const password = generatePassword();
  progress(`node ${nodeId}: starting`);
  const answered = await target.startProvisioning(nodeId, password);
  if (!answered) progress(`node ${nodeId}: the connection ended with the step; going on`);
  const types = await target.certTypes(nodeId);
  if (types.length === 0)
    throw new AosError('failed', `node ${nodeId} offers no certificate type; see "certModules" in its iam.cfg`);
  const keys: CreatedKey[] = [];
  for (const type of types) {
    progress(`node ${nodeId}: creating the key ${type}`);
    keys.push(await target.createKey(nodeId, type, password));
  }
  return { info, password, keys };
}

/** The registration cannot be taken back from here: say so when something fails behind it. */
async function afterRegistration<T>(systemId: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const failure = asAosError(error);
    throw new AosError(
      failure.code,
      `${failure.message}. The cloud has registered ${systemId} already: delete or reset it there before the next try`,
      { cause: error, fields: failure.fields },
    );
  }
}

/** Repeats a cloud call whose failure may pass: no connection, or an error of the server (5xx). */
async function retrying<T>(options: ProvisionOptions, call: () => Promise<T>): Promise<T> {
  for (let left = options.retryCount; ; left -= 1) {
    try {
      return await call();
    } catch (error) {
      const failure = asAosError(error);
      const mayPass = failure.fields.unreachable === true || failure.exitCode >= 500;
      if (!mayPass || left <= 0) throw error;
      options.progress(`${failure.message}; trying again in ${options.retryDelayMs / 1000} s`);
      await options.clock.sleep(options.retryDelayMs, options.signal);
    }
  }
}

/** Asks the cloud whether it still takes this tool (option --check-software). */
export async function checkSoftware(cloud: ProvisioningCloud): Promise<void> {
  const answer = await cloud.get<{ software?: { name: string; min_version: string }[] }>(
    `${API}/units/provisioning/supported-software/`,
  );
  const least = answer.software?.find((entry) => entry.name === PROVISIONING_SOFTWARE.name)?.min_version;
  if (least !== undefined && compareVersions(PROVISIONING_SOFTWARE.version, least) <= 0) {
    throw new AosError('notSupported', `${cloud.url} asks for a provisioning tool newer than ${least}; update aosctl`);
  }
}

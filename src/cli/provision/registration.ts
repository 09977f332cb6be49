/** Registration of a unit at the cloud: request and answer (spec/provisioning.md 7, spec/decisions.md PR-01). Pure. */
import * as z from 'zod';
import type { iam } from '../../api/contracts.ts';
import { AosError, readDocument } from '../../core/index.ts';
import type { CreatedKey } from './iam-target.ts';

/** The version of the public tool's flow that this one equals; the cloud compares it with its least version. */
export const PROVISIONING_SOFTWARE = { name: 'aos-provisioning', version: '5.3.0' } as const;

/** Version of the form of `secure_data`. */
const SECURE_DATA_VERSION = '2.0.0';

/** A node with everything that its registration needs. */
export interface PreparedNode {
  readonly info: iam.NodeInfo;
  readonly password: string;
  readonly keys: readonly CreatedKey[];
}

const nonEmpty = (text: string) => (text === '' ? {} : { variant: text });

function describeCpu(cpu: iam.CPUInfo): object {
  const architecture = cpu.archInfo?.architecture ?? '';
  const variant = cpu.archInfo?.variant ?? '';
  return {
    modelName: cpu.modelName,
    totalNumCores: Number(cpu.numCores),
    totalNumThreads: Number(cpu.numThreads),
    archInfo: { architecture, ...nonEmpty(variant) },
    arch: architecture,
    archFamily: variant,
    ...(cpu.maxDmips > 0n ? { maxDmips: Number(cpu.maxDmips) } : {}),
  };
}

/** A node under its names of API v6 and of v5 at once: which of them a cloud reads is its own affair. */
export function describeNode(info: iam.NodeInfo): Record<string, unknown> {
  const error = info.error && {
    aosCode: info.error.aosCode,
    exitCode: info.error.exitCode,
    message: info.error.message,
  };
  return {
    identity: { codename: info.nodeId, title: info.title },
    nodeGroupSubject: { codename: info.nodeType },
    id: info.nodeId,
    type: info.nodeType,
    name: info.title,
    maxDmips: Number(info.maxDmips),
    totalRam: Number(info.totalRam),
    ...(info.physicalRam > 0n ? { physicalRam: Number(info.physicalRam) } : {}),
    osInfo: {
      os: info.osInfo?.os ?? '',
      ...(info.osInfo?.version ? { version: info.osInfo.version } : {}),
      ...(info.osInfo?.features.length ? { features: info.osInfo.features } : {}),
    },
    osType: info.osInfo?.os ?? '',
    cpus: info.cpus.map(describeCpu),
    attrs: Object.fromEntries(info.attrs.map(({ name, value }) => [name, value])),
    partitions: info.partitions.map(({ name, types, path, totalSize }) => ({
      name,
      types,
      ...(path === '' ? {} : { path }),
      totalSize: Number(totalSize),
    })),
    state: info.state,
    status: info.state,
    isConnected: true,
    ...(error ? { errorInfo: error } : {}),
  };
}

/** Name and version of the unit model; older units put both into the name, separated by `;`. */
export function splitUnitModel(info: Pick<iam.SystemInfo, 'unitModel' | 'version'>): { name: string; version: string } {
  if (info.version !== '') return { name: info.unitModel, version: info.version };
  const [name = '', version] = info.unitModel.split(';', 2);
  return { name: name.trim(), version: version?.trim() || 'Unknown' };
}

/** The one registration call of a whole unit. */
export function registrationRequest(
  system: Pick<iam.SystemInfo, 'systemId' | 'unitModel' | 'version'>,
  nodes: readonly PreparedNode[],
): Record<string, unknown> {
  const keys = nodes.flatMap((node) => node.keys);
  const named = (type: string) => keys.find((key) => key.type === type);
  const online = named('online');
  const offline = named('offline');
  if (!online || !offline) {
    throw new AosError(
      'failed',
      `the unit offers no certificate type "${online ? 'offline' : 'online'}"; add it to "certModules" of its iam.cfg`,
    );
  }
  const model = splitUnitModel(system);
  return {
    hardware_id: system.systemId,
    system_uid: system.systemId,
    model_name: model.name,
    model_version: model.version,
    provisioning_software: `${PROVISIONING_SOFTWARE.name}:${PROVISIONING_SOFTWARE.version}`,
    online_public_csr: online.csr,
    offline_public_csr: offline.csr,
    online_public_node_id: online.nodeId,
    offline_public_node_id: offline.nodeId,
    additional_csrs: keys
      .filter((key) => key !== online && key !== offline)
      .map((key) => ({ cert_type: key.type, csr: key.csr, node_id: key.nodeId })),
    nodes: nodes.map((node) => describeNode(node.info)),
    secure_data: JSON.stringify({
      version: SECURE_DATA_VERSION,
      nodes: Object.fromEntries(nodes.map((node) => [node.info.nodeId, node.password])),
    }),
  };
}

const RegistrationAnswer = z.object({
  system_uid: z.string().optional(),
  online_certificate: z.string(),
  offline_certificate: z.string(),
  additional_certs: z
    .array(z.object({ cert_type: z.string(), node_id: z.string().optional(), cert: z.string() }))
    .default([]),
});

export interface IssuedCertificate {
  readonly nodeId: string;
  readonly type: string;
  /** PEM chain. */
  readonly chain: string;
}

/**
 * The certificates of a registration answer in the order of the keys. An additional certificate belongs to a key by
 * type, and by node when the cloud names one. Throws `failed` naming a key that got none.
 */
export function readRegistrationAnswer(answer: unknown, keys: readonly CreatedKey[]): IssuedCertificate[] {
  const { value } = readDocument(RegistrationAnswer, answer, { what: "the cloud's registration answer" });
  const additional = [...value.additional_certs];
  const take = (key: CreatedKey): string | undefined => {
    if (key.type === 'online') return value.online_certificate;
    if (key.type === 'offline') return value.offline_certificate;
    const index = additional.findIndex(
      (entry) => entry.cert_type === key.type && (entry.node_id === undefined || entry.node_id === key.nodeId),
    );
    return index < 0 ? undefined : additional.splice(index, 1)[0]!.cert;
  };
  return keys.map((key) => {
    const chain = take(key);
    if (chain === undefined) {
      throw new AosError('failed', `the cloud issued no certificate "${key.type}" for node ${key.nodeId}`);
    }
    return { nodeId: key.nodeId, type: key.type, chain };
  });
}

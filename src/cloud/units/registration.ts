/** Registration of a unit by a provisioning tool (spec/provisioning.md 7, spec/decisions.md PR-01, PR-02, PR-04). */
import * as z from 'zod';
import { AosError, digestOf, isObject, parseJson } from '../../core/index.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { Authority, IssuedCertificate } from '../pki/authority.ts';
import type { CertificateOwner } from '../store/certificates.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { Stores } from '../store/stores.ts';

const Csr = z.string().min(1, 'expected a certificate request');
const Node = z.record(z.string(), z.unknown());

export const RegistrationRequest = z.object({
  hardware_id: z.string().optional(),
  system_uid: z.string().min(1).max(64),
  model_name: z.string().default(''),
  model_version: z.string().default('Unknown'),
  provisioning_software: z.string().default(''),
  online_public_csr: Csr,
  offline_public_csr: Csr,
  online_public_node_id: z.string().optional(),
  offline_public_node_id: z.string().optional(),
  additional_csrs: z
    .array(z.object({ cert_type: z.string().min(1), csr: Csr, node_id: z.string().optional() }))
    .default([]),
  nodes: z.array(Node).default([]),
  secure_data: z.string().default('{}'),
});
export type RegistrationRequest = z.output<typeof RegistrationRequest>;

export interface RegistrationAnswer {
  readonly system_uid: string;
  readonly online_certificate: string;
  readonly offline_certificate: string;
  readonly additional_certs: readonly { readonly cert_type: string; readonly node_id: string; readonly cert: string }[];
}

const MAIN_NODE_ATTRIBUTE = 'mainnode';

/** The id of a node description, under its name of either API. */
function nodeIdOf(node: Readonly<Record<string, unknown>>): string {
  const { identity, id } = node;
  const codename = isObject(identity) ? identity.codename : undefined;
  return typeof codename === 'string' ? codename : typeof id === 'string' ? id : '';
}

function isMainNode({ attrs }: Readonly<Record<string, unknown>>): boolean {
  return isObject(attrs) && Object.keys(attrs).some((name) => name.toLowerCase() === MAIN_NODE_ATTRIBUTE);
}

/** All requests for certificates of a registration, with the nodes that they are for. Pure. */
export function requestedCertificates(
  request: RegistrationRequest,
): { readonly type: string; readonly nodeId: string; readonly csr: string }[] {
  const mainNode = nodeIdOf(request.nodes.find(isMainNode) ?? request.nodes[0] ?? {});
  return [
    { type: 'online', nodeId: request.online_public_node_id || mainNode, csr: request.online_public_csr },
    { type: 'offline', nodeId: request.offline_public_node_id || mainNode, csr: request.offline_public_csr },
    ...request.additional_csrs.map(({ cert_type, csr, node_id }) => ({
      type: cert_type,
      nodeId: node_id || mainNode,
      csr,
    })),
  ];
}

export interface RegistrationParts {
  readonly authority: Authority;
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly discoveryUrl: () => string;
  readonly now: () => Date;
}

/**
 * Makes a unit a member of the cloud. The very same request again gets the same answer, since tools repeat it after a
 * lost one. Throws `invalidArgument` naming the fault, and for a unit that is a member already.
 */
export async function registerUnit(
  parts: RegistrationParts,
  request: RegistrationRequest,
): Promise<RegistrationAnswer> {
  const { authority, database, events, discoveryUrl, now } = parts;
  const systemId = request.system_uid;
  const secrets = parseJson(request.secure_data, 'secure_data');
  if (!isObject(secrets)) throw new AosError('invalidArgument', 'secure_data: expected the text of a JSON object');
  const requestDigest = digestOf(JSON.stringify(request));
  const former = await database.read((stores) => answerOrRefusal(stores, systemId, requestDigest));
  if (former) return former;

  const issued: { readonly owner: CertificateOwner; readonly certificate: IssuedCertificate }[] = [];
  for (const { type, nodeId, csr } of requestedCertificates(request)) {
    const certificate = await authority.issueForUnit({ csr, systemId, type, discoveryUrl: discoveryUrl() });
    issued.push({ owner: { systemId, nodeId, type }, certificate });
  }
  const [online, offline, ...additional] = issued;
  const answer: RegistrationAnswer = {
    system_uid: systemId,
    online_certificate: online!.certificate.chain,
    offline_certificate: offline!.certificate.chain,
    additional_certs: additional.map(({ owner, certificate }) => ({
      cert_type: owner.type,
      node_id: owner.nodeId,
      cert: certificate.chain,
    })),
  };
  const faster = await database.write(async (stores) => {
    // Signing took time: another request may have been faster.
    const known = await answerOrRefusal(stores, systemId, requestDigest);
    if (known) return known;
    const registration = {
      ...{ systemId, requestDigest, answer, nodes: request.nodes, secureData: request.secure_data },
      ...{ modelName: request.model_name, modelVersion: request.model_version },
    };
    await stores.units.register(registration, now());
    await stores.certificates.revoke(systemId, undefined, now());
    for (const { owner, certificate } of issued) await stores.certificates.addForUnit(certificate, owner, now());
    return undefined;
  }, 'cloud.registration');
  if (faster) return faster;
  events.publish(systemId, 'registered', { nodes: request.nodes.map(nodeIdOf) });
  return answer;
}

async function answerOrRefusal(
  { units }: Stores,
  systemId: string,
  requestDigest: string,
): Promise<RegistrationAnswer | undefined> {
  const unit = await units.find(systemId);
  if (unit?.status !== 'provisioned') return undefined;
  const former = await units.registrationAnswer(systemId, requestDigest);
  if (former) return former as RegistrationAnswer;
  throw new AosError(
    'invalidArgument',
    `unit ${systemId} is provisioned already; delete or reset it first, then provision it again`,
  );
}

/** Services that only the protected server has (spec/iam.md 12.2, 13.7 to 13.10). */
import type { ConnectRouter } from '@connectrpc/connect';
import { iam } from '../../api/contracts.ts';
import { iamErrorMessage, readErrorMessage, readIdentMessage } from '../../api/index.ts';
import type { NodeState } from '../../core/index.ts';
import { RELAY_PROVISIONING_TIMEOUT_MS, RELAY_TIMEOUT_MS } from '../limits.ts';
import type { PermissionHandler } from '../permissions/permission-handler.ts';
import type { MainNodeParts, ServiceParts, Services } from './services.ts';

export function protectedServices(router: ConnectRouter, { parts }: Services): void {
  if (parts.permissions) permissionsService(router, parts.permissions);
  if (!parts.main) return;
  nodesService(router, parts, parts.main);
  provisioningService(router, parts, parts.main);
  certificateService(router, parts, parts.main);
}

/** An answer whose only content is success or failure. */
async function outcome(work: () => Promise<unknown>): Promise<{ error?: ReturnType<typeof iamErrorMessage> }> {
  try {
    await work();
    return {};
  } catch (error) {
    return { error: iamErrorMessage(error) };
  }
}

/** The registry follows another node's answer only when that was a success (spec/decisions.md IA-21). */
function follow<T extends { error?: Parameters<typeof readErrorMessage>[0] }>(
  { registry }: MainNodeParts,
  nodeId: string,
  answer: T,
  state: NodeState,
): T {
  if (!readErrorMessage(answer.error)) registry.setState(nodeId, state);
  return answer;
}

function nodesService(router: ConnectRouter, { node }: ServiceParts, main: MainNodeParts): void {
  const isOwn = (nodeId: string) => nodeId === '' || nodeId === node.id;
  router.service(iam.IAMNodesService, {
    pauseNode: async ({ nodeId }, { signal }) => {
      if (isOwn(nodeId)) return outcome(() => node.pause());
      const request = { case: 'pauseNodeRequest', value: { nodeId } } as const;
      const answer = await main.links.relay(nodeId, request, 'pauseNodeResponse', RELAY_TIMEOUT_MS, signal);
      return follow(main, nodeId, answer, 'paused');
    },
    resumeNode: async ({ nodeId }, { signal }) => {
      if (isOwn(nodeId)) return outcome(() => node.resume());
      const request = { case: 'resumeNodeRequest', value: { nodeId } } as const;
      const answer = await main.links.relay(nodeId, request, 'resumeNodeResponse', RELAY_TIMEOUT_MS, signal);
      return follow(main, nodeId, answer, 'provisioned');
    },
  });
}

function provisioningService(router: ConnectRouter, { node }: ServiceParts, main: MainNodeParts): void {
  const isOwn = (nodeId: string) => nodeId === '' || nodeId === node.id;
  const { links } = main;
  router.service(iam.IAMProvisioningService, {
    getCertTypes: ({ nodeId }, { signal }) => {
      if (isOwn(nodeId)) return { types: node.certTypes() };
      const request = { case: 'getCertTypesRequest', value: { nodeId } } as const;
      return links.relay(nodeId, request, 'certTypesResponse', RELAY_TIMEOUT_MS, signal);
    },
    startProvisioning: ({ nodeId, password }, { signal }) => {
      if (isOwn(nodeId)) return outcome(() => node.startProvisioning(password));
      const request = { case: 'startProvisioningRequest', value: { nodeId, password } } as const;
      return links.relay(nodeId, request, 'startProvisioningResponse', RELAY_PROVISIONING_TIMEOUT_MS, signal);
    },
    finishProvisioning: async ({ nodeId, password }, { signal }) => {
      if (isOwn(nodeId)) return outcome(() => node.finishProvisioning());
      const request = { case: 'finishProvisioningRequest', value: { nodeId, password } } as const;
      const timeoutMs = RELAY_PROVISIONING_TIMEOUT_MS;
      const answer = await links.relay(nodeId, request, 'finishProvisioningResponse', timeoutMs, signal);
      return follow(main, nodeId, answer, 'provisioned');
    },
    deprovision: async ({ nodeId, password }, { signal }) => {
      if (isOwn(nodeId)) return outcome(() => node.deprovision());
      const request = { case: 'deprovisionRequest', value: { nodeId, password } } as const;
      const timeoutMs = RELAY_PROVISIONING_TIMEOUT_MS;
      const answer = await links.relay(nodeId, request, 'deprovisionResponse', timeoutMs, signal);
      return follow(main, nodeId, answer, 'unprovisioned');
    },
  });
}

function certificateService(router: ConnectRouter, { node }: ServiceParts, main: MainNodeParts): void {
  const isOwn = (nodeId: string) => nodeId === '' || nodeId === node.id;
  router.service(iam.IAMCertificateService, {
    createKey: async ({ nodeId, subject, type, password }, { signal }) => {
      // The tool takes both from the answer, also from one that tells of a failure.
      const echo = { nodeId: nodeId || node.id, type };
      if (isOwn(nodeId)) {
        try {
          return { ...echo, csr: await node.createKey(type, subject) };
        } catch (error) {
          return { ...echo, error: iamErrorMessage(error) };
        }
      }
      // Only the main node knows the unit's system id.
      const known = subject || (await main.identifier.systemInfo()).systemId;
      const request = { case: 'createKeyRequest', value: { nodeId, subject: known, type, password } } as const;
      const answer = await main.links.relay(nodeId, request, 'createKeyResponse', RELAY_TIMEOUT_MS, signal);
      return { ...answer, nodeId: answer.nodeId || nodeId, type: answer.type || type };
    },
    applyCert: async ({ nodeId, type, cert }, { signal }) => {
      if (isOwn(nodeId)) return { nodeId: nodeId || node.id, ...(await applied(node, type, cert)) };
      const request = { case: 'applyCertRequest', value: { nodeId, type, cert } } as const;
      return main.links.relay(nodeId, request, 'applyCertResponse', RELAY_TIMEOUT_MS, signal);
    },
  });
}

/** The answer to a certificate: its serial number is hex text in a field of bytes (spec/iam.md 13.9). */
export async function applied(node: ServiceParts['node'], type: string, cert: string) {
  try {
    const record = await node.applyCertificate(type, cert);
    return { certInfo: { type, certUrl: record.certUrl, serial: Buffer.from(record.serial.toString('hex')) } };
  } catch (error) {
    return { certInfo: { type }, error: iamErrorMessage(error) };
  }
}

function permissionsService(router: ConnectRouter, handler: PermissionHandler): void {
  router.service(iam.IAMPermissionsService, {
    registerInstance: async ({ instance, permissions }) => {
      const byServer = Object.entries(permissions).map(
        ([server, functions]) => [server, functions.permissions] as const,
      );
      return { secret: await handler.register(readIdentMessage(instance), Object.fromEntries(byServer)) };
    },
    unregisterInstance: async ({ instance }) => {
      await handler.unregister(readIdentMessage(instance));
      return {};
    },
  });
}

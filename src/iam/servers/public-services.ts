/** Services that both servers have (spec/iam.md 12.2, 13.1 to 13.6). */
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { iam, iamVersion } from '../../api/contracts.ts';
import { AosError } from '../../core/index.ts';
import { MAX_SERIAL_BYTES } from '../limits.ts';
import { nodeInfoMessage } from '../node-info.ts';
import type { ServerKind } from '../nodes/node-links.ts';
import type { PermissionHandler } from '../permissions/permission-handler.ts';
import type { CertificateRecord } from '../store/iam-store.ts';
import { Latest } from './latest.ts';
import type { MainNodeParts, Services } from './services.ts';

const API_VERSION = 6n;

/** `server` tells which nodes may register. */
export function publicServices(router: ConnectRouter, services: Services, server: ServerKind): void {
  const { permissions, main } = services.parts;
  router.service(iamVersion.IAMVersionService, { getAPIVersion: () => ({ version: API_VERSION }) });
  currentNodeService(router, services);
  certService(router, services);
  if (permissions) publicPermissionsService(router, permissions);
  if (!main) return;
  identityService(router, services, main);
  nodesService(router, services, main, server);
}

function currentNodeService(router: ConnectRouter, services: Services): void {
  router.service(iam.IAMPublicCurrentNodeService, {
    getCurrentNodeInfo: () => nodeInfoMessage(services.parts.node.info),
    async *subscribeCurrentNodeChanged(_, context) {
      for await (const info of services.currentNode.subscribe(services.signalFor(context.signal))) {
        yield nodeInfoMessage(info);
      }
    },
  });
}

/** Serial number as hex text; an odd last digit is the high half of a byte, as the reference reads it. */
export function parseSerial(text: string): Buffer {
  if (text.length > 2 * MAX_SERIAL_BYTES) {
    throw new AosError('invalidArgument', `serial number has ${text.length} digits, at most ${2 * MAX_SERIAL_BYTES}`);
  }
  if (!/^[0-9a-fA-F]*$/.test(text)) throw new AosError('invalidArgument', `serial number "${text}" is not hexadecimal`);
  return Buffer.from(text.length % 2 === 0 ? text : `${text}0`, 'hex');
}

const certInfo = ({ certUrl, keyUrl }: CertificateRecord, type: string) => ({ type, certUrl, keyUrl });

function certService(router: ConnectRouter, services: Services): void {
  const { certificates } = services.parts;
  router.service(iam.IAMPublicCertService, {
    getCert: ({ type, issuer, serial }) => certInfo(certificates.get(type, issuer, parseSerial(serial)), type),
    async *subscribeCertChanged({ type }, context: HandlerContext) {
      const changes = new Latest<CertificateRecord>();
      const unsubscribe = certificates.subscribe(type, (record) => changes.publish(record));
      try {
        for await (const record of changes.subscribe(services.signalFor(context.signal))) yield certInfo(record, type);
      } finally {
        unsubscribe();
      }
    },
  });
}

function publicPermissionsService(router: ConnectRouter, permissions: PermissionHandler): void {
  router.service(iam.IAMPublicPermissionsService, {
    getPermissions: ({ secret, functionalServerId }) => {
      const found = permissions.get(secret, functionalServerId);
      const { itemId, subjectId, instance } = found.ident;
      return {
        instance: { itemId, subjectId, instance: BigInt(instance) },
        permissions: { permissions: { ...found.permissions } },
      };
    },
  });
}

function identityService(router: ConnectRouter, services: Services, { identifier }: MainNodeParts): void {
  router.service(iam.IAMPublicIdentityService, {
    getSystemInfo: () => identifier.systemInfo(),
    getSubjects: async () => ({ subjects: [...(await identifier.subjects())] }),
    async *subscribeSubjectsChanged(_, context) {
      for await (const subjects of services.subjects.subscribe(services.signalFor(context.signal))) {
        yield { subjects: [...subjects] };
      }
    },
  });
}

function nodesService(
  router: ConnectRouter,
  services: Services,
  { registry, links }: MainNodeParts,
  server: ServerKind,
): void {
  router.service(iam.IAMPublicNodesService, {
    getAllNodeIDs: () => ({ ids: registry.list().map(({ info }) => info.nodeId) }),
    getNodeInfo: ({ nodeId }) => nodeInfoMessage(registry.get(nodeId).info),
    async *subscribeNodeChanged(_, context) {
      for await (const info of services.nodes.subscribe(services.signalFor(context.signal)))
        yield nodeInfoMessage(info);
    },
    registerNode: (messages, context) => links.serve(messages, server, services.signalFor(context.signal)),
  });
}

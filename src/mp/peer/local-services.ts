/** What stands for the main node on a node that reaches it through the proxy only. */
import type { DescMethod, MessageShape } from '@bufbuild/protobuf';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { iam, network, sm } from '../../api/contracts.ts';
import type { MessageChannel } from '../wire/index.ts';
import type { CallClient } from './call-client.ts';
import type { FileDoor } from './file-door.ts';
import { relayLocalStream } from './local-stream.ts';

type Open = (signal: AbortSignal) => Promise<MessageChannel>;

/** The main IAM, as far as a secondary IAM needs it: its node's stream. */
export function iamServices(router: ConnectRouter, open: Open): void {
  router.service(iam.IAMPublicNodesService, {
    registerNode: (messages, { signal }: HandlerContext) =>
      relayLocalStream({
        messages,
        outgoing: iam.IAMOutgoingMessagesSchema,
        incoming: iam.IAMIncomingMessagesSchema,
        open: () => open(signal),
        signal,
      }),
  });
}

export interface CmParts {
  readonly open: Open;
  readonly calls: CallClient;
  readonly files: Pick<FileDoor, 'offer'>;
}

/** The CM, as far as a service manager needs it. */
export function cmServices(router: ConnectRouter, { open, calls, files }: CmParts): void {
  router.service(sm.SMService, {
    registerSM: (messages, { signal }: HandlerContext) =>
      relayLocalStream({
        messages,
        outgoing: sm.SMOutgoingMessagesSchema,
        incoming: sm.SMIncomingMessagesSchema,
        open: () => open(signal),
        signal,
      }),
    // The addresses of the CM are of no use here; the blobs come by the local file server.
    async getBlobsInfos(request, { signal }) {
      const { urls } = await calls.unary(sm.SMService.method.getBlobsInfos, request, signal);
      return { urls: urls.map((url, index) => (url === '' ? '' : files.offer(request.digests[index] ?? ''))) };
    },
  });
  const pass =
    <M extends DescMethod>(method: M) =>
    (request: MessageShape<M['input']>, { signal }: HandlerContext) =>
      calls.unary(method, request, signal);
  const methods = network.NetworkService.method;
  router.service(network.NetworkService, {
    getNodeNetworkParams: pass(methods.getNodeNetworkParams),
    allocateInstanceNetwork: pass(methods.allocateInstanceNetwork),
    releaseInstanceNetwork: pass(methods.releaseInstanceNetwork),
    releaseNodeNetwork: pass(methods.releaseNodeNetwork),
    syncNetworkState: pass(methods.syncNetworkState),
    subscribeInstanceNetworkUpdates: (request, { signal }) =>
      calls.stream(methods.subscribeInstanceNetworkUpdates, request, signal),
  });
}

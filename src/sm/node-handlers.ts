/** What the CM asks of this node, handed to the modules that can do it. */
import type { Logger } from '../core/index.ts';
import type { CmHandlers, LogRequest, OutgoingMessage } from './client/index.ts';
import type { Launcher } from './launcher/index.ts';
import type { NodeConfigKeeper } from './node-config/index.ts';
import { FIRST_LAUNCH_REPORT_MS } from './numbers.ts';

export interface NodeHandlersParts {
  readonly launcher: Launcher;
  readonly nodeConfig: NodeConfigKeeper;
  readonly monitoring: { average(): OutgoingMessage };
  readonly logs: { request(request: LogRequest): void };
  readonly cloud: { setCloud(connected: boolean): void };
  readonly logger: Logger;
  /** The CM knows this node again. */
  readonly onIntroduced: () => void;
}

export function nodeHandlers(parts: NodeHandlersParts): CmHandlers {
  const { launcher, nodeConfig, monitoring, logs, cloud, logger } = parts;
  return {
    firstStatuses: async (signal) => {
      await launcher.settled(FIRST_LAUNCH_REPORT_MS, signal);
      return launcher.board.statuses();
    },
    updateInstances: (request, signal) => launcher.update(request, signal),
    nodeConfigStatus: () => nodeConfig.status(),
    checkNodeConfig: (text, version) => nodeConfig.check(text, version),
    setNodeConfig: async (text, version) => {
      const answer = await nodeConfig.set(text, version);
      const fields = { version, before: answer.state };
      if (answer.error) logger.warn({ ...fields, ...answer.error }, 'a node config was refused');
      else logger.info(fields, 'a node config was installed');
      return answer;
    },
    averageMonitoring: () => monitoring.average(),
    logs: (request) => logs.request(request),
    cloudStatus: (connected) => cloud.setCloud(connected),
    introduced: parts.onIntroduced,
  };
}

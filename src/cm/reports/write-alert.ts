/** Alerts of service managers in the words of the cloud (spec/cloud-protocol.md 8.8). Pure. */
import { type InstanceIdent, shortenMessage } from '../../core/index.ts';
import { type Alert, formatTime, instanceMembers } from '../../protocol/index.ts';
import type { NodeAlert } from '../nodes/index.ts';
import { REPORTS } from '../numbers.ts';

type CoreComponent = Extract<Alert, { tag: 'coreAlert' }>['coreComponent'];

const CORE_COMPONENTS: readonly string[] = ['CM', 'SM', 'IAM', 'MP'] satisfies CoreComponent[];

/** The phase of a quota alert stays on the unit; a program that is none of ours is part of the system. */
export function writeAlert({ nodeId, timestamp, content }: NodeAlert, now: Date): Alert {
  const node = { codename: nodeId };
  const at = formatTime(timestamp ?? now);
  switch (content.tag) {
    case 'systemAlert':
      return { timestamp: at, tag: content.tag, node, message: alertText(content.message) };
    case 'coreAlert': {
      const component = content.coreComponent.toUpperCase();
      const message = alertText(content.message);
      return CORE_COMPONENTS.includes(component)
        ? { timestamp: at, tag: content.tag, node, coreComponent: component as CoreComponent, message }
        : { timestamp: at, tag: 'systemAlert', node, message };
    }
    case 'resourceAllocateAlert': {
      const { ident, deviceId, message } = content;
      return {
        timestamp: at,
        tag: content.tag,
        ...instanceMembers(ident),
        node,
        deviceId,
        message: alertText(message),
      };
    }
    case 'systemQuotaAlert':
      return { timestamp: at, tag: content.tag, node, parameter: content.parameter, value: content.value };
    case 'instanceQuotaAlert': {
      const { ident, parameter, value } = content;
      return { timestamp: at, tag: content.tag, ...instanceMembers(ident), parameter, value };
    }
    case 'updateItemInstanceAlert': {
      const { ident, version, message } = content;
      return { timestamp: at, tag: content.tag, ...instanceMembers(ident), version, message: alertText(message) };
    }
  }
}

/** Tells the cloud of an instance whose state it does not get (spec/cm.md 5.3). */
export function stateAlert(ident: InstanceIdent, version: string, because: string, now: Date): Alert {
  const message = alertText(`its state is not reported: ${because}`);
  return { timestamp: formatTime(now), tag: 'updateItemInstanceAlert', ...instanceMembers(ident), version, message };
}

interface RefusedResource {
  readonly ident: InstanceIdent;
  readonly nodeId: string;
  readonly resource: string;
}

/** Tells the cloud of an instance that has no place because of a resource (spec/cloud-protocol.md 8.8). */
export function resourceAlert({ ident, nodeId, resource }: RefusedResource, because: string, now: Date): Alert {
  const content = { tag: 'resourceAllocateAlert', ident, deviceId: resource, message: because } as const;
  return writeAlert({ nodeId, timestamp: now, content }, now);
}

/** The text of an alert as the cloud takes it. */
export function alertText(text: string): string {
  return shortenMessage(text, REPORTS.maxAlertTextBytes);
}

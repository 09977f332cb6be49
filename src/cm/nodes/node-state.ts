/** A node as the unit sees it: IAM's word with that of its SM (spec/cm.md 7.7). Pure. */
import { ERROR_CODES } from '../../core/index.ts';
import type { NodeInfo } from '../model.ts';
import type { IamNodeInfo, SmInfo } from './model.ts';

/** Attribute that lists the daemons of a node, separated by commas. */
const COMPONENTS = 'aoscomponents';

/** True when the node says that an SM runs on it. */
export function hasServiceManager(attrs: Readonly<Record<string, string>>): boolean {
  return Object.entries(attrs).some(
    ([name, value]) =>
      name.toLowerCase() === COMPONENTS &&
      value
        .toLowerCase()
        .split(',')
        .some((component) => component.trim() === 'sm'),
  );
}

/** Merges both sides; `isOverdue`: the SM has been away for longer than it may. */
export function mergeNode(iam: IamNodeInfo, sm: SmInfo | undefined, isOverdue: boolean): NodeInfo {
  const isConnected = sm !== undefined || iam.state === 'unprovisioned' || !hasServiceManager(iam.attrs);
  const node: NodeInfo = { ...iam, isConnected, runtimes: sm?.runtimes ?? [], resources: sm?.resources ?? [] };
  if (isConnected || !isOverdue || iam.state === 'error') return node;
  return {
    ...node,
    state: 'error',
    error: { aosCode: ERROR_CODES.timeout, exitCode: 0, message: 'SM connection timeout' },
  };
}

/** A row of an instance that runs on `main`. */
import type { InstanceRow } from './instance-row.ts';

export function testRow(itemId: string, more: Partial<InstanceRow> = {}): InstanceRow {
  return {
    ident: { itemId, subjectId: 'subject', instance: 0, type: 'service', preinstalled: false },
    version: '1.0.0',
    ownerId: 'owner',
    subjectType: 'group',
    isUnitSubject: false,
    priority: 0,
    labels: [],
    state: 'active',
    nodeId: 'main',
    prevNodeId: '',
    runtimeId: 'runc@main',
    manifestDigest: 'sha256:m',
    uid: 5000,
    gid: 5000,
    stampedAtMs: Date.UTC(2026, 0, 1),
    isPinned: false,
    storagePath: '',
    statePath: '',
    because: '',
    ...more,
  };
}

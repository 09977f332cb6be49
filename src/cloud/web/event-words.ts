/** What has happened to a unit, in words for its history. Pure. */
import type { UnitEvent } from '../model/unit-events.ts';

type Data = UnitEvent['data'];

const WORDS: Readonly<Record<string, string>> = {
  ...{ connected: 'came online', disconnected: 'went offline', desired: 'was told what is wanted' },
  ...{ unacknowledged: 'did not acknowledge', refused: 'sent what cannot be read', deployment: 'is to have' },
  ...{ registered: 'was provisioned', reset: 'was reset', log: 'sent a log', node: 'node', envVars: 'environment' },
  ...{ state: 'sent a state', conflict: 'has a double', subjects: 'subjects changed' },
  ...{ certificates: 'renewed certificates' },
};

/** Members of events that only programs need. */
const UNSAID: ReadonlySet<string> = new Set(['correlationId', 'txn']);
/** Names of members whose own name is that of a program. */
const NAMES: Readonly<Record<string, string>> = {
  ...{ itemId: 'item', subjectId: 'subject', nodeId: 'node', messageType: 'message' },
  ...{ partsCount: 'parts', errorInfo: 'error' },
};

/** What the unit did, or what was done to it. */
export function eventWords(event: string, data: Data): string {
  // A version that is none takes the item away.
  if (event === 'deployment' && data.version === null) return 'is no longer to have';
  return WORDS[event] ?? event;
}

/** What the event is about: `item telemetry · version 1.1.0`. */
export function eventText(data: Data): string {
  return members(data).join(' · ');
}

function members(data: object): string[] {
  return Object.entries(data)
    .filter(([name, value]) => !UNSAID.has(name) && value !== null && value !== undefined)
    .map(([name, value]) => `${NAMES[name] ?? name} ${valueText(value)}`);
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(valueText).join(', ');
  if (typeof value !== 'object' || value === null) return String(value);
  const { id, codename } = value as { readonly id?: unknown; readonly codename?: unknown };
  const name = id ?? codename;
  return typeof name === 'string' ? name : `(${members(value).join(' · ')})`;
}

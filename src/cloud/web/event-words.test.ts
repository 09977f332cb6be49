import { describe, expect, test } from 'vitest';
import { eventText, eventWords } from './event-words.ts';

describe('[P-13] the history of a unit is told in words', () => {
  test('an item that is wanted, and one that is no longer', () => {
    const wanted = { itemId: 'telemetry', version: '1.1.0' };
    expect([eventWords('deployment', wanted), eventText(wanted)]).toEqual([
      'is to have',
      'item telemetry · version 1.1.0',
    ]);
    const removed = { itemId: 'telemetry', version: null };
    expect([eventWords('deployment', removed), eventText(removed)]).toEqual(['is no longer to have', 'item telemetry']);
  });

  test('lists and names of things are no JSON; what only programs need is left out', () => {
    expect(eventText({ nodes: ['main', 'display'] })).toBe('nodes main, display');
    expect(eventText({ correlationId: 'c', nodeId: 'main', part: 1, partsCount: 2 })).toBe(
      'node main · part 1 · parts 2',
    );
    expect(eventText({ certificates: [{ type: 'online', node: { codename: 'main' }, serial: '5c' }] })).toBe(
      'certificates (type online · node main · serial 5c)',
    );
    expect(eventText({ statuses: [] })).toBe('statuses none');
    expect(eventText({})).toBe('');
  });

  test('an event that is not known here keeps its own name', () => {
    expect(eventWords('landing', {})).toBe('landing');
  });
});

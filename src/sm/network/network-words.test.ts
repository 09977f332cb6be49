/** Words and numbers of networks: counting chains, names, subnets. */
import { describe, expect, test } from 'vitest';
import { nameRecords } from './name-records.ts';
import type { InstanceNetworkRow } from './network-rows.ts';
import { overlaps } from './subnets.ts';
import { count, newRow } from './traffic-count.ts';
import { addCounting, fillCounting } from './traffic-script.ts';

const NOON = Date.UTC(2026, 2, 4, 12);

describe('[SM-38] a limit', () => {
  const blocked = { ...newRow('in_a', NOON), bytes: 11, counter: 11, isBlocked: true };
  const next = (limit: number | undefined) => count(blocked, 11, { nowMs: NOON, period: 'day', limit }).isBlocked;

  test('is reached above it, and left below it: on it nothing changes', () => {
    const open = { ...blocked, isBlocked: false };
    expect(count(open, 11, { nowMs: NOON, period: 'day', limit: 11 }).isBlocked).toBe(false);
    expect([next(10), next(11), next(12), next(0), next(undefined)]).toEqual([true, true, false, false, false]);
  });

  test('counts on when the date becomes known', () => {
    const before = { ...blocked, countedAt: Date.UTC(1970, 0, 1) };
    expect(count(before, 15, { nowMs: NOON, period: 'day', limit: 10 })).toMatchObject({ bytes: 15, countedAt: NOON });
  });

  test('counts what comes by its source and what goes by its destination, and lets nothing pass when reached', () => {
    const lines = (direction: 'in' | 'out', isBlocked = false) => fillCounting({ chain: 'c', direction, isBlocked });
    expect(lines('in')[1]).toBe('add rule inet aos-traffic c ip saddr @not_counted return');
    expect(lines('out')[1]).toBe('add rule inet aos-traffic c ip daddr @not_counted return');
    expect(lines('in', true)).toEqual([
      'flush chain inet aos-traffic c',
      'add rule inet aos-traffic c drop comment "over its limit until the next period"',
    ]);
    const made = addCounting({ id: 'a', name: 'item/s/0', ip: '172.17.0.3', isBlocked: { in: false, out: true } });
    expect(made.filter((line) => line.includes('element'))).toEqual([
      'add element inet aos-traffic received { 172.17.0.3 comment "item/s/0" : jump in_a }',
      'add element inet aos-traffic sent { 172.17.0.3 comment "item/s/0" : jump out_a }',
    ]);
  });
});

test('[SM-40] [X-16] what is no name of a host never reaches a name server', () => {
  const row = {
    ident: { itemId: 'web', subjectId: 'a b', instance: 0, type: 'service', preinstalled: false },
    networkId: 'owner',
    wishes: { hostname: 'x\n172.17.0.4 bank', exposedPorts: [], allowedConnections: [] },
    parameters: { ip: '172.17.0.3', subnet: '172.17.0.0/16', dnsServers: ['10.0.0.100', '-h'], firewallRules: [] },
    state: 'up',
  } satisfies InstanceNetworkRow;
  const good = { ...row, wishes: { ...row.wishes, hostname: 'shop' } } satisfies InstanceNetworkRow;
  expect(nameRecords([row], false)).toMatchObject({ own: [], upstreams: ['10.0.0.100'] });
  expect(nameRecords([row], false).hosts.join('')).not.toContain('bank');
  expect(nameRecords([good], false).own).toEqual(['shop', 'shop.owner']);
});

test('[SM-34] subnets overlap when they have an address in common', () => {
  const pairs = [
    ['172.17.0.0/16', '172.17.0.0/16'],
    ['172.17.0.0/16', '172.17.200.0/24'],
    ['172.17.200.0/24', '172.16.0.0/12'],
    ['172.17.0.0/16', '172.18.0.0/16'],
    ['172.17.3.4', '172.17.0.0/16'],
    ['172.17.0.0/16', 'nonsense'],
  ] as const;
  expect(pairs.map(([a, b]) => overlaps(a, b))).toEqual([true, true, true, false, true, false]);
  expect(pairs.map(([a, b]) => overlaps(b, a))).toEqual([true, true, true, false, true, false]);
});

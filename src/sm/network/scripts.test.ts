import { describe, expect, test } from 'vitest';
import { fillChain, planFirewall } from './firewall-script.ts';
import { type FirewallState, NO_FIREWALL, readFirewall } from './firewall-state.ts';
import { deleteLinesOf, shapingLines } from './link-script.ts';
import { fnv1a, hostInterface, ifbInterface, instanceChain, instanceHosts } from './names.ts';

const instance = {
  ...{ id: 'c7644e00-aecb', name: 'item/subject/0', ip: '172.17.0.2', subnet: '172.17.0.0/16' },
  ...{ exposedPorts: [], rules: [] },
};

describe('names', () => {
  test('FNV-1a as published', () => {
    expect([fnv1a(''), fnv1a('a'), fnv1a('foobar')]).toEqual(['811c9dc5', 'e40c292c', 'bf9cf968']);
  });

  test('interfaces fit into the 15 characters of the kernel', () => {
    expect(hostInterface('c7644e00-aecb-3ff3-87bd-dc2b708a483b')).toMatch(/^veth[0-9a-f]{8}$/);
    expect(ifbInterface('veth12345678')).toMatch(/^ifb-[0-9a-f]{8}$/);
    expect(instanceChain('a-b.c')).toBe('instance_a_b_c');
  });

  test('[SM-40] an instance is found by host name, number, subject, item and network; number 0 also without it', () => {
    const ident = { itemId: 'item', subjectId: 'subject', instance: 0 };
    expect(instanceHosts(ident, 'host', 'net')).toEqual([
      ...['host', '0.subject.item', '0.subject.item.net', 'subject.item', 'subject.item.net'],
    ]);
    expect(instanceHosts({ ...ident, instance: 1 }, '', 'net')).toEqual(['1.subject.item', '1.subject.item.net']);
  });
});

test('[B-01] links that go at the same time go as one group', () => {
  expect(deleteLinesOf(['veth1', 'ifb-1'], 4711)).toEqual([
    'link set dev veth1 group 4711',
    'link set dev ifb-1 group 4711',
    'link delete group 4711',
  ]);
  expect(deleteLinesOf(['veth1'], 4711)).toEqual(['link delete dev veth1']);
  expect(deleteLinesOf([], 4711)).toEqual([]);
});

describe('rules of an instance', () => {
  const rules = (more: object) =>
    fillChain({ ...instance, ...more })
      .slice(2)
      .map((line) => line.replace('add rule inet aos instance_c7644e00_aecb ', ''));

  test('[SM-36] own network, exposed ports, allowed connections, the world; nothing else', () => {
    expect(
      rules({
        exposedPorts: ['8080', '53/udp', '9000-9010/tcp'],
        rules: [{ dstIp: '172.18.0.9', dstPort: '443', proto: '', srcIp: '' }],
      }),
    ).toEqual([
      'ip saddr 172.17.0.0/16 ip daddr 172.17.0.2 accept comment "from its own network"',
      'ip saddr 172.17.0.2 ip daddr 172.17.0.0/16 accept comment "to its own network"',
      'ip daddr 172.17.0.2 tcp dport 8080 accept comment "exposed"',
      'ip daddr 172.17.0.2 udp dport 53 accept comment "exposed"',
      'ip daddr 172.17.0.2 tcp dport 9000-9010 accept comment "exposed"',
      'ip saddr 172.17.0.2 ip daddr 172.18.0.9 tcp dport 443 accept comment "allowed connection"',
      'ip daddr 172.17.0.2 drop',
      'ip saddr 172.17.0.2 ip daddr != @node_networks accept comment "to the world"',
      'ip saddr 172.17.0.2 drop',
    ]);
  });

  test.each([
    ['an address with more in it', { ip: '172.17.0.2; flush ruleset' }],
    ['no address', { ip: '' }],
    ['a protocol without ports', { exposedPorts: ['80/icmp'] }],
    ['a port of text', { exposedPorts: ['http'] }],
    ['a target that is no address', { rules: [{ dstIp: 'any', dstPort: '1', proto: 'tcp', srcIp: '' }] }],
    ['an id with a quote', { id: 'a"b' }],
  ])('%s is refused', (_, more) => {
    expect(() => fillChain({ ...instance, ...more })).toThrow(expect.objectContaining({ code: 'invalidArgument' }));
  });
});

describe('changes of the firewall', () => {
  const chain = 'instance_c7644e00_aecb';
  const network = { subnet: '172.17.0.0/16', bridge: 'br-1' };
  const whole: FirewallState = {
    chains: new Set(['forward', 'postrouting', chain]),
    ruleCounts: new Map([[chain, 5]]),
    sets: new Map([
      ['node_networks', ['172.17.0.0/16']],
      ['leaving', []],
      ['reaching', []],
    ]),
    leaving: new Map([['172.17.0.2', chain]]),
    reaching: new Map([['172.17.0.2', chain]]),
    lookups: [6, 7],
    jumps: [],
    established: 5,
    masquerades: [{ ...network, handle: 9 }],
  };
  const wanted = { instances: [instance], networks: [network] };
  const noneChanged = new Set<string>();

  test('what is as it is wanted is not touched', () => {
    expect(planFirewall(whole, wanted, noneChanged)).toEqual([]);
  });

  test.each([0, 4, 6])(
    '[SM-36] a chain that has %i rules instead of 5 is filled anew, in the same transaction',
    (count) => {
      const damaged = { ...whole, ruleCounts: new Map([[chain, count]]) };
      expect(planFirewall(damaged, wanted, noneChanged)).toEqual(fillChain(instance));
    },
  );

  test('a missing table is made: closed before anything is let through', () => {
    const lines = planFirewall(NO_FIREWALL, { instances: [], networks: [] }, noneChanged);
    expect(lines.slice(0, 2)).toEqual([
      'add table inet aos',
      'add chain inet aos forward { type filter hook forward priority 0; policy drop; }',
    ]);
    expect(lines.filter((line) => line.includes('vmap'))).toEqual([
      'add rule inet aos forward ip saddr vmap @leaving',
      'add rule inet aos forward ip daddr vmap @reaching',
    ]);
  });

  test('[SM-36] in a table of somebody else, who sends is asked before who receives, right after answers were let through', () => {
    const foreign = { ...whole, sets: new Map(), leaving: new Map(), reaching: new Map(), lookups: [] };
    const lines = planFirewall({ ...foreign, chains: new Set(['forward', 'postrouting']) }, wanted, noneChanged);
    // Each is put in right behind rule 5: the later one first.
    expect(lines.filter((line) => line.includes('vmap'))).toEqual([
      'add rule inet aos forward handle 5 ip daddr vmap @reaching',
      'add rule inet aos forward handle 5 ip saddr vmap @leaving',
    ]);
    expect(lines.join('\n')).not.toContain('add table');
    expect(lines).toContain(`add element inet aos leaving { 172.17.0.2 comment "item/subject/0" : jump ${chain} }`);
  });

  test('chains, elements and masquerading of nobody go, and of a rule that is there twice one', () => {
    const twice = { ...whole, masquerades: [...whole.masquerades, { ...network, handle: 10 }] };
    expect(planFirewall(twice, wanted, noneChanged)).toEqual(['delete rule inet aos postrouting handle 10']);
    expect(planFirewall(whole, { instances: [], networks: [] }, noneChanged)).toEqual([
      'flush set inet aos node_networks',
      'delete element inet aos leaving { 172.17.0.2 }',
      'delete element inet aos reaching { 172.17.0.2 }',
      `flush chain inet aos ${chain}`,
      `delete chain inet aos ${chain}`,
      'delete rule inet aos postrouting handle 9',
    ]);
  });

  test('jumps of another service manager are replaced', () => {
    const jumps = [11, 12].map((handle) => ({ chain, handle }));
    expect(planFirewall({ ...whole, jumps }, wanted, noneChanged)).toEqual([
      'delete rule inet aos forward handle 11',
      'delete rule inet aos forward handle 12',
    ]);
  });

  test('an instance with another address is found under that alone', () => {
    const moved = { ...wanted, instances: [{ ...instance, ip: '172.17.0.9' }] };
    const lines = planFirewall(whole, moved, new Set([instance.id])).filter((line) => line.includes('leaving'));
    expect(lines).toEqual([
      'delete element inet aos leaving { 172.17.0.2 }',
      `add element inet aos leaving { 172.17.0.9 comment "item/subject/0" : jump ${chain} }`,
    ]);
  });

  test('a name that would end a comment is told without what it would do', () => {
    const evil = { ...instance, name: 'a"; flush ruleset; #' };
    expect(planFirewall(NO_FIREWALL, { ...wanted, instances: [evil] }, noneChanged).join('\n')).toContain(
      'comment "a?? flush ruleset? ?"',
    );
  });

  test('the listing of nft is read: chains, sets, maps, jumps, answers, masquerading in the form of both versions', () => {
    const rule = (of: string, handle: number, ...expr: unknown[]) => ({ rule: { chain: of, handle, expr } });
    const prefix = { match: { left: {}, right: { prefix: { addr: '172.17.0.0', len: 16 } } } };
    const subnet = { prefix: { addr: '172.18.0.0', len: 16 } };
    const listing = {
      nftables: [
        { chain: { name: 'forward' } },
        { set: { name: 'node_networks', elem: [subnet] } },
        {
          map: {
            name: 'leaving',
            elem: [
              [{ elem: { val: '172.17.0.2', comment: 'x' } }, { jump: { target: 'instance_x' } }],
              ['172.17.0.3', { jump: { target: 'instance_y' } }],
            ],
          },
        },
        { map: { name: 'reaching' } },
        rule('forward', 3, { match: { left: { ct: { key: 'state' } }, right: ['established', 'related'] } }),
        rule('forward', 4, { jump: { target: 'instance_x' } }),
        rule('forward', 5, { jump: { target: 'of-somebody-else' } }),
        rule('forward', 8, { vmap: { key: {}, data: '@leaving' } }),
        rule('forward', 9, { vmap: { key: {}, data: '@of-somebody-else' } }),
        rule(
          'postrouting',
          6,
          prefix,
          { match: { left: { meta: { key: 'oifname' } }, right: 'br-1' } },
          { masquerade: null },
        ),
        rule('postrouting', 7, prefix, { masquerade: null }),
      ],
    };
    expect(readFirewall(listing)).toEqual({
      chains: new Set(['forward']),
      ruleCounts: new Map([
        ['forward', 5],
        ['postrouting', 2],
      ]),
      sets: new Map<string, string[]>([
        ['node_networks', ['172.18.0.0/16']],
        ['leaving', []],
        ['reaching', []],
      ]),
      leaving: new Map([
        ['172.17.0.2', 'instance_x'],
        ['172.17.0.3', 'instance_y'],
      ]),
      reaching: new Map(),
      lookups: [8],
      established: 3,
      jumps: [{ chain: 'instance_x', handle: 4 }],
      masquerades: [
        { handle: 6, subnet: '172.17.0.0/16', bridge: 'br-1' },
        { handle: 7, subnet: '172.17.0.0/16', bridge: '' },
      ],
    });
  });
});

test('[SM-37] speeds beyond what the kernel can count are refused', () => {
  const link = { ...{ id: 'i', bridge: 'b', gateway: '1.1.1.1', ip: '1.1.1.2' }, subnet: '1.1.1.0/24' };
  expect(() => shapingLines({ ...link, downloadKbit: 20_000_000 })).toThrow(/beyond what can be shaped/);
  expect(shapingLines({ ...link, downloadKbit: 1000 })).toEqual([
    `qdisc add dev ${hostInterface('i')} root tbf rate 1000kbit burst 12800 limit 51200`,
  ]);
});

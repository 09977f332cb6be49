import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';

/** Fresh namespaces: the host sees nothing of it, and nothing is left when the program ends. */
const SCRIPT = `
  ip link set lo up
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  echo 1 > /proc/sys/net/ipv4/ip_forward
  exec "$0" "$1"`;
const NAMESPACES = ['--net', '--mount', '--propagation', 'private', '--pid', '--kill-child', '--mount-proc'];

const STORY_MS = 120_000;

async function tell(story: string): Promise<Record<string, unknown>> {
  const file = `${import.meta.dirname}/for-tests/${story}.ts`;
  const { stdout } = await promisify(execFile)('unshare', [...NAMESPACES, 'sh', '-c', SCRIPT, process.execPath, file], {
    timeout: STORY_MS,
  });
  return JSON.parse(stdout);
}

describe('networks of two owners on a real kernel', () => {
  let result: Record<string, unknown>;
  beforeAll(async () => {
    result = await tell('two-owners');
  }, STORY_MS);

  test('[SM-34] each instance gets a namespace, an address, a way out, names and servers', () => {
    expect(result.outcomes).toMatchObject({
      a: {
        netnsPath: expect.stringMatching(/^\/run\/netns\//),
        hosts: expect.arrayContaining([
          { ip: '172.17.0.2', name: 'a' },
          { ip: '127.0.0.1', name: 'localhost' },
        ]),
        dnsServers: ['172.17.0.1', '198.51.100.2'],
        hostname: 'a',
      },
      c: {
        hosts: expect.arrayContaining([{ ip: expect.stringMatching(/^172\.18\.0\.\d+$/), name: 'blue' }]),
        dnsServers: ['172.18.0.1', '198.51.100.2'],
      },
    });
    expect(result.links).toEqual(['br', 'br', 'ifb', 'lo', 'uplink', 'veth', 'veth', 'veth']);
  });

  test('an instance that the CM refuses, or gives no usable address, fails alone', () => {
    expect(result.errors).toEqual(['noMemory', 'invalidArgument']);
  });

  test('[SM-36] [X-16] inside of a network traffic is free and under the own address, between networks there is none', () => {
    expect(result.inside).toEqual(['172.17.0.3', '172.17.0.3']);
    // Also to a port that is exposed: exposure is for the world outside of the node's networks.
    expect(result.across).toEqual([false, false]);
  });

  test('[SM-36] a rule of the CM opens one port of another network for one instance', () => {
    expect(result.allowed).toEqual(['172.18.0.1', false, false]);
  });

  test('[SM-41] from outside the exposed ports of an instance are reached, and no others', () => {
    expect(result.fromOutside).toEqual(['198.51.100.2', false, '198.51.100.2', false]);
  });

  test('[SM-39] instances reach the world under the address of the node', () => {
    expect(result.toOutside).toEqual(['198.51.100.1', '198.51.100.1']);
  });

  test('[SM-40] names of instances are answered in their network only, other names by the server of the CM', () => {
    expect(result.names).toEqual({
      host: '172.17.0.2',
      long: '172.17.0.2',
      withNetwork: '172.17.0.2',
      otherKind: 'ENOTFOUND',
      ofAnotherOwner: expect.stringMatching(/^E/),
      ofTheWorld: '198.51.100.9',
    });
  });

  test('[SM-40] names come and go with their instances, in the same server', () => {
    expect(result.reloaded).toEqual({ isFound: true, afterwards: expect.stringMatching(/^E/), isSameServer: true });
  });

  test('a name that an instance of the network has already is refused', () => {
    expect(result.takenName).toEqual(['alreadyExist', 'the name "a" is that of a/s/0 already']);
  });

  test('with IPv6 instances of one network reach each other by names, those of another network do not', () => {
    const [address, inside, across] = result.ipv6 as unknown[];
    expect(address).toMatch(/^fd/);
    expect(inside).toMatch(/^fd/);
    expect(across).toBe(false);
  });

  test('[SM-37] uploads and downloads that are faster than asked for are slowed down', () => {
    expect(result.shaped).toEqual([true, true]);
    expect(result.slowedDown).toEqual([
      ['vet', true],
      ['ifb', true],
    ]);
  });

  test('[SM-58] a service manager that starts again leaves networks and connections as they are', () => {
    expect(result).toMatchObject({ untouched: true, connectionStands: true, startAgain: true });
    expect(result.stillConnects).toBe('172.18.0.1');
  });

  test('a firewall that somebody took away and a name server that ended come back at the next look, as they were', () => {
    const [after, before] = result.firewallAgain as unknown[];
    expect(after).toEqual(before);
    expect(result.closedAgain).toEqual(['172.18.0.1', false]);
    expect(result.namesAgain).toBe('172.17.0.2');
  });

  test('a network that was damaged is made anew, one that nobody claims is removed', () => {
    // One more than the instances: the world outside.
    expect(result).toMatchObject({ namespacesAfterLoss: 2, namespacesAfterStart: 3 });
  });

  test('a CM that lost its database is asked for the network again', () => {
    expect(result.late).toBe(true);
  });

  test('after the last instance nothing is left but the base table', () => {
    expect(result).toMatchObject({
      linksAfter: ['lo', 'uplink'],
      namespacesAfter: ['outside'],
      masqueradesAfter: false,
      serversAfter: [],
    });
    expect(JSON.stringify(result.chainsAfter)).not.toMatch(/instance_|in_[0-9a-f]/);
  });

  test('[O-01] a node that stops its instances leaves no table behind', () => {
    expect(result.listingWithdrawn).not.toMatch(/aos/);
  });

  test('the CM is asked for the network before an address, told what runs, and gets everything back, the network last', () => {
    const log = result.cm as string[];
    expect(log.indexOf('network red')).toBeLessThan(log.indexOf('allocate a'));
    expect(log).toContain('sync a b c');
    expect(log.filter((line) => line.startsWith('allocate a'))).toEqual(['allocate a', 'allocate added']);
    expect(log.indexOf('release a')).toBeLessThan(log.indexOf('release network red'));
    expect(log.slice(-2).sort()).toEqual(['release network blue', 'release network red']);
  });
});

describe('traffic', () => {
  let result: Record<string, unknown>;
  beforeAll(async () => {
    result = await tell('traffic-story');
  }, STORY_MS);

  test('[SM-38] bytes from and to public peers are counted, those of other instances are not', () => {
    expect(result).toMatchObject({ counted: [1, 0], ofPeers: 0, ofTheNode: true });
    expect(result.ofNobody).toBeUndefined();
  });

  test('[SM-38] what passes while the service manager is away is counted, and nothing is lost by a power loss', () => {
    expect(result.afterRestart).toBe(2);
    expect(result.afterPowerLoss).toEqual([2, false]);
  });

  test('[SM-38] over its limit a direction is closed, for this instance alone, also after a restart, until the period ends', () => {
    expect(result.beforeTheLimit).toBe(true);
    expect(result.overTheLimit).toEqual([false, true]);
    expect(result.peersOverTheLimit).toBe(false);
    expect(result.startedAgain).toBe(false);
    expect(result.nextDay).toEqual([0, true]);
  });

  test('what was counted of instances that are gone for good is forgotten', () => {
    // The two directions of the node.
    expect(result.rowsAfter).toBe(2);
  });
});

describe('what cannot be', () => {
  let result: Record<string, unknown>;
  beforeAll(async () => {
    result = await tell('refusals-story');
  }, STORY_MS);

  test('a subnet that overlaps that of another network is refused, naming both', () => {
    expect(result.overlapping).toMatch(/^invalidArgument: .*172\.17\.128\.0\/17.*overlaps 172\.17\.0\.0\/16 of red/);
  });

  test('a subnet that the host uses itself is refused, naming the route', () => {
    expect(result.ofTheHost).toMatch(/^alreadyExist: .*this host reaches 198\.51\.100\.0\/24 by uplink/);
  });

  test('ports and rules that are none are refused, naming them', () => {
    expect(result.rule).toMatch(/^invalidArgument: "70000\/tcp" is not a port/);
    expect(result.port).toMatch(/^invalidArgument: "80; flush ruleset\/tcp" is not a port/);
  });

  test('rules for somebody who is not there change nothing, rules that are none are refused and not kept', () => {
    expect(result.updates).toEqual({
      // Nothing in a list is null in JSON.
      ofNobody: ['ok', null],
      badPort: [expect.stringMatching(/^invalidArgument: "0\/tcp" is not a port/), 0],
      badTarget: [expect.stringMatching(/^invalidArgument: /), 0],
      twice: ['ok', 'ok', 1],
    });
  });

  test('[CM-100] a rule that was meant before a crash, and not made, is made at the next start', () => {
    expect(result.intent).toEqual(['killed', false]);
    expect(result.madeGood).toBe(true);
  });

  test('a rule that somebody else put into our table stays', () => {
    expect(result.ruleStays).toBe(true);
  });

  test('a speed beyond what can be shaped is refused', () => {
    expect(result.fast).toMatch(/^invalidArgument: a speed of 20000000 kbit\/s/);
  });

  test('a VLAN id that no VLAN can have is given back, and asked for once more', () => {
    expect(result.careless).toBe('ok');
    expect(result.reserved).toBe('outOfRange: the CM gives network reserved the VLAN id 0, expected 1 to 4094');
    const release = (owner: string) => [`network ${owner}`, `release network ${owner}`, `network ${owner}`];
    expect(result.askedAgain).toEqual([
      ...release('careless'),
      'allocate careless',
      ...release('reserved'),
      'release network reserved',
    ]);
  });

  test('an owner whose name climbs out of directories has names like any other', () => {
    expect(result.climbing).toBe('ok');
  });

  test('whoever requires VLANs on a kernel without them hears so', () => {
    expect(result.vlanRequired).toMatch(/^runtime: ip: /);
  });

  test('a device of somebody else with the name of a bridge stays, and is named', () => {
    expect(result.bridge).toBe('alreadyExist: BRIDGE is there already and no bridge, but veth');
    expect(result).toMatchObject({ bridgeStays: true, afterwards: 'ok' });
  });

  test('other addresses for a network are refused while something runs in it, and taken when nothing does', () => {
    expect(result.otherSubnetWhileRunning).toBe('runtime: CM: network not found');
    expect(result.otherSubnet).toEqual(['ok', '172.27.0.x']);
    expect(result.again).toEqual(['ok', '172.27.0.x']);
  });

  test('tables, routes and addresses of the host are the same to the byte, during and after', () => {
    expect(result.hostUntouched).toBe(true);
  });

  test('one that spoils its batch fails alone; what a crash left in the place of another is replaced', () => {
    expect(result.batch).toEqual(['ok', 'runtime: tc', 'ok']);
    expect(result.nothingOfTheBad).toBe(false);
  });
});

describe('a hundred instances at once', () => {
  let result: Record<string, unknown>;
  beforeAll(async () => {
    result = await tell('hundred-instances');
  }, STORY_MS);

  test('are one batch of links, one for each namespace, one transaction of the firewall, one batch of shaping', () => {
    expect(result.started).toEqual([
      'dnsmasq',
      'dnsmasq',
      'ip -batch -',
      'ip -j -4 route show',
      'nft -f -',
      'nft -j list table inet aos',
      'nft -j list table inet aos-traffic',
      'tc -batch -',
    ]);
  });

  test('[B-01] are written down together: two networks, what the CM gave, what is begun, what is done', () => {
    expect(result.commitsOfStart).toBe(5);
  });

  test('go with one batch of links and one transaction', () => {
    expect(result.stopped).toEqual([
      'ip -force -batch -',
      'nft -f -',
      'nft -j list table inet aos',
      'nft -j list table inet aos-traffic',
    ]);
    expect(result.left).toBeNull();
  });

  test('have a chain each that names its instance, behind two rules for all of them', () => {
    expect(result).toMatchObject({ chains: 100, named: 100 });
    expect(result.forward).toEqual([
      'chain forward {',
      'type filter hook forward priority filter; policy drop;',
      'ct state invalid drop',
      'ct state established,related accept',
      // Between instances of one network: IPv6.
      expect.stringContaining('inside_ipv6'),
      'ip saddr vmap @leaving',
      'ip daddr vmap @reaching',
      '}',
    ]);
  });
});

test(
  '[SM-35] [SM-36] [X-16] on three nodes those of one owner talk, and the one pair that is allowed, and no other',
  async () => {
    const { outcomes, pairs, talk } = await tell('three-nodes');
    expect(outcomes).toEqual(Array(3).fill(['ok', 'ok']));
    expect(pairs).toBe(30);
    const ofOne = (owner: string) =>
      [1, 2, 3].flatMap((from) => [1, 2, 3].filter((to) => to !== from).map((to) => `${owner}-${from} ${owner}-${to}`));
    expect(talk).toEqual([...ofOne('red'), ...ofOne('blue'), 'red-1 blue-2'].sort());
  },
  STORY_MS,
);

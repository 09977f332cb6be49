import { describe, expect, test } from 'vitest';
import { node, runtime, wanted } from './facts-for-tests.ts';
import type { NodeFacts, Placement, PlacementInput, WantedInstance } from './model.ts';
import { placeInstances } from './place-instances.ts';

const DISK = { storage: 1 << 30, state: 1 << 30, shared: false };

function place(nodes: readonly NodeFacts[], instances: readonly WantedInstance[], more: Partial<PlacementInput> = {}) {
  return placeInstances({ mode: 'launch', nodes, instances, disk: DISK, ...more });
}

/** `node/runtime` of each instance, or the text of its error. */
function where(placements: readonly Placement[]): string[] {
  return placements.map((placement) => (placement.place ? placement.place.runtimeId : placement.error.message));
}

describe('the worked example of the specification (spec/cm.md 4.18)', () => {
  const cpuRule = { minThreshold: 75, maxThreshold: 85 };
  const main = node('main', { maxDmips: 10000, totalRam: 2048, priority: 100, ratios: { cpu: 50, ram: 40 }, cpuRule });
  const edge1 = node('edge1', { maxDmips: 8000, totalRam: 1024, priority: 50, labels: ['edge'] });
  const edge2 = node('edge2', { maxDmips: 8000, totalRam: 2048, priority: 50, labels: ['edge'] });
  const used = (facts: NodeFacts, cpu: number, ram: number, instances = { cpu: 0, ram: 0 }): NodeFacts => ({
    ...facts,
    usage: { cpu, ram },
    instancesUsage: instances,
  });
  const aaa = (index: number) => wanted('aaa', index, [{ quotas: { cpu: 4000, ram: 600 } }]);
  const bbb = (index: number) =>
    wanted('bbb', index, [{ quotas: { cpu: 3000 }, requested: { cpu: 2500, ram: 300 } }], { labels: ['edge'] });
  const ccc = wanted('ccc', 0, [{ quotas: { cpu: 9000 }, staysOnNode: true }]);
  const requests = [aaa(0), aaa(1), bbb(0), bbb(1), ccc];

  test('[CM-69] [CM-70] the first launch chooses the nodes of the example', () => {
    const nodes = [used(main, 2300, 500), used(edge1, 500, 100), used(edge2, 500, 100)];
    expect(where(place(nodes, requests))).toEqual(['runc@main', 'runc@main', 'runc@edge2', 'runc@edge1', 'runc@edge2']);
  });

  test('[CM-74] an overloaded node gives away just what is too much, and nothing else moves', () => {
    const at = (one: WantedInstance, nodeId: string, cpu: number, ram: number): WantedInstance => ({
      ...one,
      present: { nodeId, runtimeId: `runc@${nodeId}`, manifestDigest: 'sha256:m1' },
      average: { cpu, ram },
    });
    const nodes = [
      used(main, 8800, 1100, { cpu: 6300, ram: 600 }),
      used(edge1, 2500, 350, { cpu: 2000, ram: 250 }),
      used(edge2, 5000, 600, { cpu: 4500, ram: 500 }),
    ];
    const instances = [
      at(aaa(0), 'main', 3200, 300),
      at(aaa(1), 'main', 3100, 300),
      at(bbb(0), 'edge2', 2100, 250),
      at(bbb(1), 'edge1', 2000, 250),
      at(ccc, 'edge2', 2400, 250),
    ];
    const placements = place(nodes, instances, { mode: 'rebalance' });
    expect(where(placements)).toEqual(['runc@main', 'runc@edge1', 'runc@edge2', 'runc@edge1', 'runc@edge2']);
    expect(placements[1]!.because).toContain('moves from main');
    expect(placements[4]!.because).toContain('forbids');
  });

  test('[CM-74] the measured average counts instead of the request on a node to be relieved', () => {
    const rule = { minThreshold: 75, maxThreshold: 75 };
    const one = (itemId: string) =>
      wanted(itemId, 0, [{ quotas: { cpu: 1000 } }], {
        present: { nodeId: 'n1', runtimeId: 'runc@n1', manifestDigest: 'sha256:m1' },
      });
    const nodes = [
      node('n1', { cpuRule: rule, usage: { cpu: 800, ram: 0 }, instancesUsage: { cpu: 800, ram: 0 } }),
      node('n2'),
    ];
    expect(where(place(nodes, [one('a'), one('b')], { mode: 'rebalance' }))).toEqual(['runc@n1', 'runc@n2']);
  });

  test('[CM-71] copies fill the node of highest priority, then spread in the order of node ids', () => {
    const nodes = [node('n3', { priority: 50 }), node('n2', { priority: 50 }), node('n1', { priority: 100 })];
    const copies = [0, 1, 2, 3, 4].map((index) =>
      wanted('a', index, [{ quotas: { cpu: 500 }, requested: { cpu: 300 } }]),
    );
    expect(where(place(nodes, copies))).toEqual(['runc@n1', 'runc@n1', 'runc@n1', 'runc@n2', 'runc@n3']);
  });
});

describe('filters', () => {
  const rows: readonly [string, readonly NodeFacts[], WantedInstance, string][] = [
    [
      '[CM-61] a node that is not connected takes nothing',
      [node('n1', { connected: false })],
      wanted('a', 0),
      'no nodes with instance labels',
    ],
    ['[CM-61] a paused node takes nothing', [node('n1', { state: 'paused' }), node('n2')], wanted('a', 0), 'runc@n2'],
    [
      '[CM-62] every label is required',
      [node('n1', { labels: ['x'] })],
      wanted('a', 0, [{}], { labels: ['x', 'y'] }),
      'no nodes with instance labels',
    ],
    [
      '[CM-62] a node with all labels is taken',
      [node('n1'), node('n2', { labels: ['y', 'x'] })],
      wanted('a', 0, [{}], { labels: ['x', 'y'] }),
      'runc@n2',
    ],
    [
      '[CM-63] a resource must be there',
      [node('n1')],
      wanted('a', 0, [{ resources: ['can0'] }]),
      'no nodes with with service resources',
    ],
    [
      '[CM-63] a shared count of 0 is unlimited',
      [node('n1', { resources: [{ name: 'can0', sharedCount: 0 }] })],
      wanted('a', 0, [{ resources: ['can0'] }]),
      'runc@n1',
    ],
    [
      '[CM-64] the runtime type must be in the list of the item',
      [node('n1')],
      wanted('a', 0, [{ runtimes: ['crun'] }]),
      'no runtimes with requested runtime type',
    ],
    [
      '[CM-65] the architecture must fit',
      [node('n1')],
      wanted('a', 0, [{ platform: { architecture: 'arm64', osFeatures: [] } }]),
      'no runtimes with requested platform',
    ],
    [
      '[CM-65] two names of one architecture are equal',
      [node('n1')],
      wanted('a', 0, [{ platform: { architecture: 'x86_64', osFeatures: [] } }]),
      'runc@n1',
    ],
    [
      '[CM-65] the operating system must fit when the image names one',
      [node('n1')],
      wanted('a', 0, [{ platform: { architecture: 'amd64', os: 'zephyr', osFeatures: [] } }]),
      'no runtimes with requested platform',
    ],
    [
      '[CM-65] every feature must be offered',
      [node('n1')],
      wanted('a', 0, [{ platform: { architecture: 'amd64', osFeatures: ['x'] } }]),
      'no runtimes with requested platform',
    ],
    [
      '[CM-65] the first manifest that fits is taken',
      [node('n1')],
      wanted('a', 0, [{ platform: { architecture: 'arm64', osFeatures: [] } }, { digest: 'sha256:m2' }]),
      'runc@n1',
    ],
    [
      '[CM-66] the CPU must be free',
      [node('n1')],
      wanted('a', 0, [{ requested: { cpu: 1001 } }]),
      'no runtimes with requested CPU',
    ],
    [
      '[CM-66] a runtime with an own allowance ignores the pool of the node',
      [node('n1', { runtimes: [runtime('runc', 'n1', { allowedDmips: 5000 })] })],
      wanted('a', 0, [{ requested: { cpu: 1001 } }]),
      'runc@n1',
    ],
    [
      '[CM-67] the RAM must be free',
      [node('n1')],
      wanted('a', 0, [{ requested: { ram: 1025 } }]),
      'no runtimes with requested RAM',
    ],
    [
      '[CM-67] what the system itself uses is not free',
      [node('n1', { usage: { cpu: 0, ram: 500 } })],
      wanted('a', 0, [{ requested: { ram: 525 } }]),
      'no runtimes with requested RAM',
    ],
    [
      '[CM-70] without a request half of the quota is reserved',
      [node('n1')],
      wanted('a', 0, [{ quotas: { cpu: 2000 } }]),
      'runc@n1',
    ],
    [
      '[CM-70] the ratio of the node replaces the half',
      [node('n1', { ratios: { cpu: 51 } })],
      wanted('a', 0, [{ quotas: { cpu: 2000 } }]),
      'no runtimes with requested CPU',
    ],
    [
      '[CM-70] a request above the quota is cut to it',
      [node('n1')],
      wanted('a', 0, [{ quotas: { cpu: 1000 }, requested: { cpu: 9999 } }]),
      'runc@n1',
    ],
    [
      '[CM-70] an item without limits reserves nothing',
      [node('n1')],
      wanted('a', 0, [{ skipResourceLimits: true, requested: { cpu: 9999 } }]),
      'runc@n1',
    ],
    [
      '[CM-101] storage that does not fit on the disk is refused',
      [node('n1')],
      wanted('a', 0, [{ requested: { storage: 2 ** 31 } }]),
      'not enough storage space',
    ],
    [
      '[CM-101] state that does not fit on the disk is refused',
      [node('n1')],
      wanted('a', 0, [{ requested: { state: 2 ** 31 } }]),
      'not enough state space',
    ],
    [
      'an unusable manifest gives its own error',
      [node('n1')],
      wanted('a', 0, [], {
        item: {
          manifests: [{ digest: 'sha256:m1', error: { aosCode: 5, exitCode: 0, message: 'get item config failed' } }],
        },
      }),
      'get item config failed',
    ],
    [
      'components ignore CPU, RAM and resources',
      [node('n1')],
      {
        ...wanted('a', 0, [{ requested: { cpu: 9999, ram: 9999 }, resources: ['can0'] }]),
        ident: { itemId: 'a', subjectId: 's', instance: 0, type: 'component', preinstalled: false },
      },
      'runc@n1',
    ],
    [
      '[CM-31] a pinned instance goes to its node only',
      [node('n1')],
      wanted('a', 0, [{}], { pinned: { nodeId: 'n2', runtimeId: 'runc@n2' } }),
      'no nodes with given ID',
    ],
  ];
  test.each(rows)('%s', (_title, nodes, instance, expected) => {
    expect(where(place(nodes, [instance]))).toEqual([expected]);
  });

  test('[CM-63] the instance after the last share fails with the resource error', () => {
    const nodes = [node('n1', { resources: [{ name: 'can0', sharedCount: 2 }] })];
    const copies = [0, 1, 2].map((index) => wanted('a', index, [{ resources: ['can0'] }]));
    const placements = place([node('n0', { priority: 1 }), ...nodes], copies);
    expect(where(placements)).toEqual(['runc@n1', 'runc@n1', 'no nodes with with service resources']);
    expect(placements[2]).toMatchObject({
      because: 'all shares of the resource can0 on n1 are taken',
      shortage: { nodeId: 'n1', resource: 'can0', isTaken: true },
    });
  });

  test('[CM-63] only what fails for a resource says so, with the resource and where it is missing', () => {
    const nodes = [node('n2'), node('n1'), node('n3', { labels: ['x'], resources: [{ name: 'gpu', sharedCount: 1 }] })];
    const [lacking, labels, heavy, fits] = place(nodes, [
      wanted('lacking', 0, [{ resources: ['can0'] }]),
      wanted('labels', 0, [{ resources: ['can0'] }], { labels: ['y'] }),
      wanted('heavy', 0, [{ resources: ['gpu'], requested: { cpu: 9999 } }]),
      wanted('fits', 0, [{ resources: ['gpu'] }]),
    ]);
    expect(lacking).toMatchObject({
      because: 'no node that it may run on has the resource can0',
      shortage: { nodeId: 'n1', resource: 'can0', isTaken: false },
    });
    for (const other of [labels, heavy, fits]) expect(other).not.toHaveProperty('shortage');
    expect(fits?.place?.nodeId).toBe('n3');
  });

  test('[CM-68] a runtime takes no more instances than it says', () => {
    const nodes = [node('n1', { runtimes: [runtime('boot', 'n1', { maxInstances: 1 })] })];
    const copies = [0, 1].map((index) => wanted('a', index, [{ runtimes: ['boot'] }]));
    expect(where(place(nodes, copies))).toEqual(['boot@n1', 'no runtimes with requested RAM']);
  });

  test('[CM-64] of several runtimes the lexically first type is taken', () => {
    const nodes = [node('n1', { runtimes: [runtime('runc', 'n1'), runtime('crun', 'n1')] })];
    expect(where(place(nodes, [wanted('a', 0)]))).toEqual(['crun@n1']);
  });

  test('[CM-72] an instance that fits nowhere fails with its reason and the others run', () => {
    const placements = place([node('n1')], [wanted('a', 0, [{ requested: { cpu: 2000 } }]), wanted('b', 0)]);
    expect(where(placements)).toEqual(['no runtimes with requested CPU', 'runc@n1']);
    expect(placements[0]!.notChosen).toEqual([
      { nodeId: 'n1', runtimeId: 'runc@n1', because: '1000 DMIPS are free, 2000 are needed' },
    ]);
  });
});

describe('stability', () => {
  const present = (nodeId: string) => ({ nodeId, runtimeId: `runc@${nodeId}`, manifestDigest: 'sha256:m1' });

  test('[CM-73] an instance stays where it runs although another node has more room', () => {
    const nodes = [node('n1', { maxDmips: 100 }), node('n2', { maxDmips: 9000 })];
    const placements = place(nodes, [wanted('a', 0, [{}], { present: present('n1') })]);
    expect(where(placements)).toEqual(['runc@n1']);
    expect(placements[0]!.because).toBe('it was there before');
  });

  test('[CM-76] a node of higher priority attracts it', () => {
    const nodes = [node('n1'), node('n2', { priority: 1 })];
    expect(where(place(nodes, [wanted('a', 0, [{}], { present: present('n1') })]))).toEqual(['runc@n2']);
  });

  test('[CM-75] an item that forbids moves stays on an overloaded node', () => {
    const cpuRule = { minThreshold: 50, maxThreshold: 60 };
    const busy = node('n1', { cpuRule, usage: { cpu: 900, ram: 0 }, instancesUsage: { cpu: 900, ram: 0 } });
    const stays = wanted('a', 0, [{ staysOnNode: true }], { present: present('n1'), average: { cpu: 450, ram: 0 } });
    const goes = wanted('b', 0, [{}], { present: present('n1'), average: { cpu: 450, ram: 0 } });
    expect(where(place([busy, node('n2')], [stays, goes], { mode: 'rebalance' }))).toEqual(['runc@n1', 'runc@n2']);
  });

  test('[CM-76] instances of a node that is lost move, also those that forbid it', () => {
    const nodes = [node('n1', { connected: false, state: 'error' }), node('n2')];
    const stays = wanted('a', 0, [{ staysOnNode: true }], { present: present('n1') });
    expect(where(place(nodes, [stays], { mode: 'rebalance' }))).toEqual(['runc@n2']);
  });

  test('[X-07] an instance that runs is kept when its image cannot be read at the moment', () => {
    const item = { error: { aosCode: 5, exitCode: 0, message: '' } };
    expect(where(place([node('n1')], [wanted('a', 0, [], { item, present: present('n1') })]))).toEqual(['runc@n1']);
    expect(place([node('n1')], [wanted('a', 0, [], { item })])[0]!.place).toBeUndefined();
  });
});

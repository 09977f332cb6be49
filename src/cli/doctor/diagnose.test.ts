import { expect, test } from 'vitest';
import type { UnitReport } from '../../daemon/index.ts';
import { diagnose } from './diagnose.ts';
import type { Facts, TokenFact } from './facts.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;
const space = { totalBytes: 8 * GIB, freeBytes: 4 * GIB, freeFiles: 0.9, isWritable: true, hasQuotas: true };

const unit: UnitReport = {
  systemId: 'unit',
  unitModel: 'model;1.0.0',
  cloud: { state: 'connected', url: 'wss://cloud', since: '2026-05-31T00:00:00Z' },
  update: { state: 'none', since: '2026-05-31T00:00:00Z' },
  unitConfig: { state: 'installed' },
  nodes: [
    { nodeId: 'main', nodeType: 'main', title: 'main', state: 'provisioned', connected: true, runtimes: ['crun'] },
  ],
  items: [],
  instances: [],
};

const token = (state: TokenFact['state'], detail?: string): TokenFact => ({
  ...{ name: 'aoscore', library: '/lib/softhsm.so', pinFile: '/var/aos/.pin', state },
  ...(detail !== undefined && { detail }),
});

const healthy: Facts = {
  nowMs: NOW,
  isRoot: true,
  kernel: '6.1.0-18-amd64',
  fileSystems: ['ext4', 'overlay'],
  controllers: ['memory', 'cpu', 'pids'],
  programs: ['crun', 'conmon', 'nft', 'ip', 'tc', 'dnsmasq'],
  devices: ['bridge', 'veth', 'vlan'],
  daemons: [
    { name: 'aos-iam', socket: '/run/aos/iam.sock', state: 'answers' },
    { name: 'aos-cm', socket: '/run/aos/cm.sock', state: 'answers' },
    { name: 'aos-sm', socket: '/run/aos/sm.sock', state: 'answers' },
  ],
  mainLinks: [{ daemon: 'aos-sm', to: 'aos-cm', isConnected: true }],
  unit,
  iamMode: 'normal',
  certificates: [{ type: 'online', notAfter: '2027-06-01T00:00:00Z', current: true }],
  configs: [{ path: '/etc/aos/cm.cfg' }],
  ports: [{ daemon: 'aos-cm', key: 'cmServerUrl', port: 8093, holder: { pid: 7, command: 'node /usr/lib/aos-cm.js' } }],
  tokens: [token('fine')],
  keyDirectories: [],
  places: [{ what: 'storages', path: '/var/aos/storages', space }],
  setAside: [],
};

test('[P-08] a node in order has nothing to say but that', () => {
  expect(diagnose(healthy).filter(({ level }) => level !== 'ok')).toEqual([]);
});

const without = (list: readonly string[] | undefined, name: string) => (list ?? []).filter((entry) => entry !== name);
const daemonIs = (index: number, fact: object) =>
  healthy.daemons.map((daemon, at) => (at === index ? { ...daemon, ...fact } : daemon));
const place = (more: object) => ({ places: [{ ...healthy.places[0]!, space: { ...space, ...more } }] });

test.each<[string, Partial<Facts>, 'fault' | 'warning', string, RegExp, RegExp]>([
  ['not root', { isRoot: false }, 'warning', 'permission', /not root/, /sudo/],
  ['an old kernel', { kernel: '4.19.0' }, 'warning', 'kernel', /4\.19/, /5\.10 or newer/],
  ['no overlay', { fileSystems: ['ext4'] }, 'fault', 'overlay file system', /not known/, /modprobe overlay/],
  [
    'no memory controller',
    { controllers: ['cpu', 'pids'] },
    'fault',
    'limits',
    /no cgroup controller memory/,
    /cgroup_enable=memory/,
  ],
  [
    'no runtime',
    { programs: without(healthy.programs, 'crun') },
    'fault',
    'container runtime',
    /neither/,
    /install crun/,
  ],
  ['no conmon', { programs: without(healthy.programs, 'conmon') }, 'fault', 'program conmon', /not found/, /conmon/],
  ['no nft', { programs: without(healthy.programs, 'nft') }, 'fault', 'program nft', /not found/, /install nftables/],
  ['no veth', { devices: ['bridge', 'vlan'] }, 'fault', 'network device veth', /cannot make/, /modprobe veth/],
  ['no VLANs', { devices: ['bridge', 'veth'] }, 'warning', 'network device vlan', /cannot make/, /8021q/],
  ['a clock in 1970', { nowMs: 1_000_000 }, 'fault', 'clock', /1970/, /set it/],
  [
    'a clock behind',
    { lastWriteMs: NOW + 40 * DAY_MS },
    'fault',
    'clock',
    /files of the daemons are from 2026-07/,
    /set it/,
  ],
  [
    'a port that is taken',
    { ports: [{ ...healthy.ports[0]!, holder: { pid: 12, command: 'nginx: master' } }] },
    'fault',
    'port 8093',
    /aos-cm needs it \("cmServerUrl"\), and nginx: master \(pid 12\) listens/,
    /end that process, or give aos-cm another port/,
  ],
  [
    'a missing PIN',
    { tokens: [token('no pin')] },
    'fault',
    'token aoscore',
    /\.pin does not exist/,
    /backup|provision/,
  ],
  ['an empty PIN', { tokens: [token('empty pin')] }, 'fault', 'token aoscore', /\.pin is empty/, /backup|provision/],
  [
    'a wrong PIN',
    { tokens: [token('wrong pin')] },
    'fault',
    'token aoscore',
    /\.pin is wrong/,
    /before the token locks/,
  ],
  ['a locked PIN', { tokens: [token('locked pin')] }, 'fault', 'token aoscore', /locked/, /unlock it/],
  ['a PIN for root only', { tokens: [token('closed pin')] }, 'warning', 'token aoscore', /may not read/, /sudo/],
  [
    'no PKCS#11 library',
    { tokens: [token('no library', 'ENOENT')] },
    'fault',
    'token aoscore',
    /cannot be loaded: ENOENT/,
    /softhsm2/,
  ],
  ['no token', { tokens: [token('no token')] }, 'fault', 'token aoscore', /not there/, /SOFTHSM2_CONF/],
  [
    'a token that fails',
    { tokens: [token('failed', 'CKR_DEVICE')] },
    'fault',
    'token aoscore',
    /CKR_DEVICE/,
    /journalctl/,
  ],
  [
    'a broken configuration',
    { configs: [{ path: '/etc/aos/cm.cfg', problem: 'is not JSON: line 3' }] },
    'fault',
    'configuration /etc/aos/cm.cfg',
    /line 3/,
    /mend the file/,
  ],
  [
    'a machine without configurations',
    { configs: [{ path: '/etc/aos', isDirectory: true, problem: 'no such file or directory' }] },
    'fault',
    'configuration /etc/aos',
    /no such file/,
    /is aoscore installed.*--config-dir/,
  ],
  ['a full disk', place({ freeBytes: 1_000_000 }), 'fault', 'storages /var/aos/storages', /0 of 8192 MiB/, /make room/],
  ['no more files', place({ freeFiles: 0 }), 'fault', 'storages /var/aos/storages', /no more files/, /make room/],
  ['little space', place({ freeBytes: GIB / 4 }), 'warning', 'storages /var/aos/storages', /256 of 8192/, /make room/],
  ['a read-only disk', place({ isWritable: false }), 'fault', 'storages /var/aos/storages', /read-only/, /remount,rw/],
  ['no quotas', place({ hasQuotas: false }), 'warning', 'quotas of storages', /does not limit/, /usrquota/],
  [
    'no directory',
    { places: [{ what: 'data', path: '/var/aos/cm' }] },
    'fault',
    'data /var/aos/cm',
    /does not exist/,
    /mkdir -p/,
  ],
  [
    'a damaged database',
    { setAside: ['/var/aos/aos-cm.db.corrupt-7'] },
    'warning',
    'damaged database',
    /corrupt-7/,
    /disk errors/,
  ],
  [
    'a daemon that is down',
    { daemons: daemonIs(1, { state: 'absent' }) },
    'fault',
    'daemon aos-cm',
    /nobody listens/,
    /systemctl status aos-cm/,
  ],
  ['a closed socket', { daemons: daemonIs(2, { state: 'refused' }) }, 'fault', 'daemon aos-sm', /may not open/, /sudo/],
  [
    'a daemon that hangs',
    { daemons: daemonIs(0, { state: 'failed', error: 'no answer' }) },
    'fault',
    'daemon aos-iam',
    /no answer/,
    /restart aos-iam/,
  ],
  [
    'a blank node',
    { iamMode: 'provisioning', daemons: daemonIs(1, { state: 'absent' }) },
    'warning',
    'daemon aos-cm',
    /blank/,
    /aosctl provision/,
  ],
  [
    'an expired certificate',
    { certificates: [{ type: 'online', notAfter: '2026-05-01T00:00:00Z', current: true }] },
    'fault',
    'certificate online',
    /expired/,
    /aosctl renew --unit <system id> online.*make it blank and provision it again/,
  ],
  [
    'a certificate that ends soon',
    { certificates: [{ type: 'sm', notAfter: '2026-06-05T00:00:00Z', current: true }] },
    'warning',
    'certificate sm',
    /4 days/,
    /renewed/,
  ],
  [
    'a main node that is not reached',
    { mainLinks: [{ daemon: 'aos-sm', to: 'aos-cm', isConnected: false, error: 'no answer of main:8093' }] },
    'warning',
    'link of aos-sm',
    /aos-cm is not reached: no answer of main:8093/,
    /"cmServerUrl" of sm\.cfg.*instances run on/,
  ],
  [
    'an update that waits',
    { unit: { ...unit, update: { ...unit.update, state: 'downloading', waitsFor: 'waits for room on the disk' } } },
    'warning',
    'update',
    /downloading and waits: waits for room/,
    /aosctl why update/,
  ],
  [
    'an item that is not got',
    {
      unit: {
        ...unit,
        items: [
          {
            ...{ itemId: 'web', type: 'service', version: '1.0.0', state: 'downloading' },
            error: { aosCode: 1, exitCode: 0, message: 'no answer of the blob server' },
          },
        ],
      },
    },
    'warning',
    'item web',
    /version 1\.0\.0 is downloading: no answer of the blob server/,
    /aosctl why web/,
  ],
  ['a CM that waits', { unit: { ...unit, waitsFor: 'IAM does not answer' } }, 'fault', 'unit', /IAM does not/, /mend/],
  [
    'a node that is away',
    { unit: { ...unit, nodes: [{ ...unit.nodes[0]!, connected: false }] } },
    'warning',
    'node main',
    /not connected/,
    /systemctl status aos-sm/,
  ],
  [
    'a paused node',
    { unit: { ...unit, nodes: [{ ...unit.nodes[0]!, state: 'paused' }] } },
    'warning',
    'node main',
    /paused/,
    /aosctl why main/,
  ],
  [
    'a failed instance',
    {
      unit: {
        ...unit,
        instances: [
          {
            ...{ itemId: 'web', subjectId: 's', instance: 0, version: '1.0.0', nodeId: 'main', runtimeId: 'r' },
            state: 'failed',
            error: { aosCode: 1, exitCode: 1, message: 'out of memory' },
          },
        ],
      },
    },
    'warning',
    'instance web/s/0',
    /out of memory/,
    /aosctl why web\/s\/0; aosctl logs web$/,
  ],
  [
    'an instance without a place',
    {
      unit: {
        ...unit,
        instances: [
          {
            ...{ itemId: 'web', subjectId: 's', instance: 0, version: '1.0.0', nodeId: '', runtimeId: '' },
            state: 'failed',
            error: { aosCode: 5, exitCode: 0, message: 'no runtimes with requested RAM' },
          },
        ],
      },
    },
    'warning',
    'instance web/s/0',
    /no runtimes with requested RAM/,
    /aosctl why web\/s\/0$/,
  ],
])('[P-08] %s is named, with its cure', (_, broken, level, check, found, cure) => {
  const findings = diagnose({ ...healthy, ...broken });
  const finding = findings.find((one) => one.check === check && one.level !== 'ok');
  expect(finding).toMatchObject({ level, found: expect.stringMatching(found), cure: expect.stringMatching(cure) });
  expect(findings.filter((one) => one.level !== 'ok')).toHaveLength(1);
});

test('[P-08] what nobody uses is no fault: an old certificate beside the current one', () => {
  const old = { type: 'online', notAfter: '2020-01-01T00:00:00Z', current: false };
  const findings = diagnose({ ...healthy, certificates: [...healthy.certificates, old] });
  expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
});

test('[P-08] a clock that is ahead: every certificate has expired at once', () => {
  const expired = ['online', 'iam', 'sm'].map((type) => ({ type, notAfter: '2026-05-01T00:00:00Z', current: true }));
  const findings = diagnose({ ...healthy, certificates: expired }).filter(({ level }) => level !== 'ok');
  expect(findings.map(({ check }) => check)).toEqual([
    'clock',
    'certificate online',
    'certificate iam',
    'certificate sm',
  ]);
  expect(findings[0]).toMatchObject({
    found: expect.stringMatching(/may be ahead/),
    cure: expect.stringMatching(/date/),
  });
});

test('[P-08] whoever may not see who listens is told when the daemon itself does not answer', () => {
  const ports = [{ daemon: 'aos-cm', key: 'cmServerUrl', port: 8093 }] as const;
  expect(diagnose({ ...healthy, ports }).filter(({ level }) => level !== 'ok')).toEqual([]);
  const daemons = daemonIs(1, { state: 'absent' });
  expect(diagnose({ ...healthy, ports, daemons }).find(({ check }) => check === 'port 8093')).toMatchObject({
    level: 'fault',
    found: expect.stringMatching(/another process listens/),
    cure: expect.stringMatching(/ss -ltnp/),
  });
});

test('[P-08] a daemon that this node has no configuration of is not missed', () => {
  const finding = (fact: object) =>
    diagnose({ ...healthy, daemons: daemonIs(1, fact) }).find(({ check }) => check === 'daemon aos-cm');
  expect(finding({ state: 'absent', isForeign: true })).toEqual({
    check: 'daemon aos-cm',
    level: 'ok',
    found: 'is not one of this node, which has no configuration of it',
  });
  expect(finding({ state: 'absent' })).toMatchObject({ level: 'fault' });
});

test.each([
  ['enforced', { isEnforced: true, unlabelled: [] }, []],
  ['only logged', { isEnforced: false, unlabelled: [] }, [/^SELinux: its policy is not enforced.*ausearch -m avc/]],
  [
    'blind for our files',
    { isEnforced: true, unlabelled: ['/var/aos/storages'] },
    [/^label of \/var\/aos\/storages: it has none.*restorecon -R \/var\/aos\/storages/],
  ],
])('[O-08] a policy of SELinux that is %s', (_, selinux, findings) => {
  const said = diagnose({ ...healthy, selinux })
    .filter(({ level }) => level !== 'ok')
    .map(({ check, found, cure }) => `${check}: ${found} ${cure}`);
  expect(said).toEqual(findings.map((words) => expect.stringMatching(words)));
});

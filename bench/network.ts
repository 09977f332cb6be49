/**
 * Networks of instances, against a hand-written `ip -batch`, `nft -f` and nothing around them, on the same machine in the
 * same run; and what two instances carry, against two namespaces on a bare bridge. `node bench/network.ts [rounds]`; needs
 * root, dnsmasq and iperf3. Runs in namespaces of its own.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { idOf, NetworkHost, request } from '../src/sm/network/for-tests/network-host.ts';
import { run } from '../src/sm/network/for-tests/outside.ts';
import { formatTable, median, ms, ratio } from './table.ts';

const INSIDE = 'AOS_BENCH_INSIDE';
const COUNTS = [1, 20, 100, 250];
const CARRY_S = 3;
/** At a thousand kbit/s a connection is a few packets at a time. */
const SHAPED_S = 8;
const KBITS = [1_000, 10_000, 100_000];
/** Bytes of a full packet that are the connection's own: the rest is headers of Ethernet, IP and TCP with time stamps. */
const GOODPUT = 1448 / 1514;
const rounds = Number(process.argv[2] ?? 3);
const { signal } = new AbortController();

if (process.env[INSIDE] === undefined) {
  const script = `ip link set lo up; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; exec "$0" "$@"`;
  const namespaces = [
    '--net',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ];
  const { status } = spawnSync(
    'unshare',
    [...namespaces, 'sh', '-c', script, process.execPath, import.meta.filename, String(rounds)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  );
  process.exit(status ?? 1);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** A script by standard input: those of many instances are longer than an argument may be. */
async function shell(script: string): Promise<void> {
  const child = spawn('sh', ['-e'], { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(script);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`a script by hand ended with ${code}`);
}

/** What a person would write for so many instances: a namespace, a link, an address, a route, the rules of each. */
async function bareUp(count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, index) => ({
    name: `bare${index}`,
    ip: `172.29.${1 + (index >> 8)}.${index & 255}`,
  }));
  const links = [
    'link add name bare-br type bridge',
    'address add 172.29.0.1/16 dev bare-br',
    'link set dev bare-br up',
    ...all.flatMap(({ name }) => [
      `netns add ${name}`,
      `link add name ${name} master bare-br up type veth peer name eth0 netns ${name}`,
    ]),
    ...all.flatMap(({ name, ip }) =>
      [
        `link set dev lo up`,
        `address add ${ip}/16 dev eth0`,
        `link set dev eth0 up`,
        `route add default via 172.29.0.1`,
      ].map((line) => `netns exec ${name} ip ${line}`),
    ),
  ];
  const rules = [
    'add table inet bare',
    'add chain inet bare forward { type filter hook forward priority 0; policy drop; }',
    ...all.flatMap(({ name, ip }) => [
      `add chain inet bare ${name}`,
      `add rule inet bare ${name} ip saddr 172.29.0.0/16 accept`,
      `add rule inet bare ${name} ip daddr ${ip} tcp dport 80 accept`,
      `add rule inet bare ${name} ip daddr ${ip} drop`,
      `add rule inet bare forward ip daddr ${ip} jump ${name}`,
      `add rule inet bare forward ip saddr ${ip} jump ${name}`,
    ]),
  ];
  await shell(`ip -batch - <<'E'\n${links.join('\n')}\nE\nnft -f - <<'E'\n${rules.join('\n')}\nE`);
}

async function bareDown(count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, index) => [
    `link delete dev bare${index}`,
    `netns delete bare${index}`,
  ]);
  await shell(
    `ip -batch - <<'E'\n${[...lines.flat(), 'link delete dev bare-br'].join('\n')}\nE\nnft delete table inet bare`,
  );
}

/** Gbit/s from one namespace to another one, after a second in which the connection finds its speed. */
async function carried(from: string, to: string, address: string, seconds = CARRY_S): Promise<number> {
  const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '--server', '--one-off', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  // It says where it listens.
  await once(server.stdout, 'data');
  const { stdout } = await run('ip', [
    'netns',
    'exec',
    from,
    'iperf3',
    '--json',
    '--connect-timeout',
    '10000',
    '--omit',
    '1',
    '--time',
    String(seconds),
    '--client',
    address,
  ]);
  server.kill();
  return (
    (JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received.bits_per_second /
    1e9
  );
}

/** Measured while no table forwards what comes from instances alone: it would drop this, too, where bridges are filtered. */
async function carriedBare(): Promise<number> {
  await bareUp(2);
  await shell('nft delete table inet bare; nft add table inet bare');
  const gbits = await carried('bare0', 'bare1', '172.29.1.1');
  await bareDown(2);
  return gbits;
}

const bare = await carriedBare();
const host = new NetworkHost();
const manager = host.manager({ vlan: 'off', withIpv6: false });
await manager.adopt([], signal);
const rows: (string | number)[][] = [];
for (const count of COUNTS) {
  const times = { up: [] as number[], down: [] as number[], bareUp: [] as number[], bareDown: [] as number[] };
  const wanted = Array.from({ length: count }, (_, index) => request(`item-${index}`, 'red', { exposedPorts: ['80'] }));
  for (let round = 0; round < rounds; round += 1) {
    times.bareUp.push(await timed(() => bareUp(count)));
    times.bareDown.push(await timed(() => bareDown(count)));
    times.up.push(await timed(() => manager.start(wanted, signal)));
    times.down.push(await timed(() => manager.stop(wanted.map(idOf), signal)));
  }
  const row = (what: string, ours: readonly number[], bare: readonly number[]) => [
    ...[count, what, ms(median(ours)), ms(median(ours) / count), ms(median(bare))],
    ratio(median(ours), median(bare)),
  ];
  rows.push(row('set up', times.up, times.bareUp), row('torn down', times.down, times.bareDown));
}
console.log(
  formatTable({
    title: 'Networks of instances',
    method: `Namespace, link, address, firewall, counters and name of each, beside a hand-written batch. Median of ${rounds} rounds.`,
    columns: ['instances', 'what', 'ours', 'each', 'by hand', 'to by hand'],
    rows,
  }),
);

const pair = [request('a', 'red'), request('b', 'red')] as const;
await manager.start(pair, signal);
const ours = await carried(idOf(pair[0]), idOf(pair[1]), host.ip('b'));
await manager.stop(pair.map(idOf), signal);
console.log(
  formatTable({
    title: 'From one instance to another',
    method: `iperf3 for ${CARRY_S} s, one connection, same network; beside two namespaces on a bridge without any rules.`,
    columns: ['what', 'Gbit/s', 'to bare'],
    rows: [
      ['two instances', ours.toFixed(1), ratio(ours, bare)],
      ['two namespaces on a bridge', bare.toFixed(1), ratio(1, 1)],
    ],
  }),
);

const asked = KBITS.flatMap((kbit) => [
  { kbit, what: 'upload', wanted: request(`up-${kbit}`, 'red', { quotas: { uploadSpeed: kbit } }) },
  { kbit, what: 'download', wanted: request(`down-${kbit}`, 'red', { quotas: { downloadSpeed: kbit } }) },
]);
const free = request('free', 'red');
await manager.start([free, ...asked.map(({ wanted }) => wanted)], signal);
const shaped: (string | number)[][] = [];
for (const { kbit, what, wanted } of asked) {
  const itemId = wanted.info.ident.itemId;
  const gbits =
    what === 'upload'
      ? await carried(idOf(wanted), idOf(free), host.ip('free'), SHAPED_S)
      : await carried(idOf(free), idOf(wanted), host.ip(itemId), SHAPED_S);
  const measured = (gbits * 1e6) / GOODPUT;
  shaped.push([what, kbit, Math.round(measured), `${((measured / kbit - 1) * 100).toFixed(1)} %`]);
}
await manager.stop([free, ...asked.map(({ wanted }) => wanted)].map(idOf), signal);
console.log(
  formatTable({
    title: 'Speeds that items ask for',
    method: `iperf3 for ${SHAPED_S} s, one connection; with the headers of each packet, as the kernel counts. Budget: within 10 %.`,
    columns: ['direction', 'asked, kbit/s', 'measured', 'off by'],
    rows: shaped,
  }),
);
host.remove();

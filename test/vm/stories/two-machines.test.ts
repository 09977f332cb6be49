/** Two machines and what is between them, one of them with the firmware of a board. One pair, in this order. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundled, keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';
import { MachineNetwork } from '../network.ts';
import type { VlanNode } from '../programs/vlan-node.ts';

const VARIABLE = '/sys/firmware/efi/efivars/AosTest-7a5c2f2e-6d7d-4d0f-9a3b-0f2b6c1d5e11';
const EFIVARS = 'mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs efivarfs /sys/firmware/efi/efivars';
const PROGRAM = '/usr/lib/aoscore/vlan-node.mjs';
const NODE = '/run/vlan-node.json';

let network: MachineNetwork;
let left: Machine;
let right: Machine;

beforeAll(async () => {
  network = await MachineNetwork.create();
  // Of the package its Node.js is enough here: an empty file masks the target, so that no daemon takes the processor.
  const files = { '/etc/systemd/system/aos.target': '' };
  const options = { image: unitImage(), network, cpus: 1, files };
  left = await Machine.create({ ...options, name: 'left' });
  right = await Machine.create({ ...options, name: 'right', hasFirmware: true });
  await Promise.all([left.boot(), right.boot()]);
});

keepTraces(() => [left, right]);

afterAll(async () => {
  await Promise.all([left?.close(), right?.close()]);
  await network?.remove();
});

const hostOf = (machine: Machine) => machine.link!.address.split('/')[0]!;
const ping = (address: string) => `busybox ping -c 1 -W 5 ${address}`;

test('machines reach each other and the host, also over a VLAN that the host does not see', async () => {
  await left.until('the other and the host answer', `${ping(hostOf(right))} && ${ping(network.hostAddress)}`);
  for (const [machine, address] of [
    [left, '10.77.0.1/24'],
    [right, '10.77.0.2/24'],
  ] as const) {
    await machine.must(
      `ip link add link eth0 name eth0.9 type vlan id 9 && ip address add ${address} dev eth0.9 && ip link set eth0.9 up`,
    );
  }
  await left.until('the other answers in the VLAN', ping('10.77.0.2'));
});

test('the link can be slow and lossy, and the cable can be out', async () => {
  await left.must('tc qdisc add dev eth0 root netem delay 200ms loss 100%');
  expect((await left.run(ping(hostOf(right)))).status).not.toBe(0);
  await left.must('tc qdisc change dev eth0 root netem delay 200ms loss 0%');
  expect(await left.must(ping(hostOf(right)))).toMatch(/time=(2\d\d|[3-9]\d\d|\d{4,})(\.\d+)? ms/);
  await left.must('tc qdisc delete dev eth0 root');

  await right.setNetwork('down');
  expect((await left.run(ping(hostOf(right)))).status).not.toBe(0);
  await right.setNetwork('up');
  await left.until('the cable is in again', ping(hostOf(right)));
});

/** The instances of each owner on both nodes, made by the network manager of the SM. */
let nodes: readonly [VlanNode, VlanNode];

async function startNode(machine: Machine, number: number, program: Buffer): Promise<VlanNode> {
  await machine.copyIn(program, PROGRAM);
  const unit = 'systemd-run --quiet --unit=vlan-node --property=KillMode=process';
  await machine.must(`${unit} /usr/lib/aoscore/node ${PROGRAM} ${number} ${NODE}`);
  const failed = 'systemctl is-failed --quiet vlan-node && journalctl --no-pager -u vlan-node >&2';
  return JSON.parse(
    await machine.until('the node has its networks', `cat ${NODE} || { ${failed}; exit 1; }`),
  ) as VlanNode;
}

/** Runs a command in the namespace of the instance of an owner. */
const inside = ({ instances }: VlanNode, owner: string, command: string) =>
  `ip netns exec ${instances[owner]!.netns} ${command}`;

test('[SM-35] instances of one owner on two nodes reach each other by the VLAN of their network', async () => {
  const program = await bundled('vlan-node');
  nodes = await Promise.all([startNode(left, 1, program), startNode(right, 2, program)]);
  expect(nodes.map(({ outcomes }) => outcomes)).toEqual([
    ['ok', 'ok'],
    ['ok', 'ok'],
  ]);
  const [one, two] = nodes;
  for (const owner of ['red', 'blue']) {
    await left.until(`${owner} reaches ${owner}`, inside(one, owner, ping(two.instances[owner]!.ip)));
    await right.must(inside(two, owner, ping(one.instances[owner]!.ip)));
  }
  expect(await left.must("ip -d -o link show type vlan | grep -o 'id [78] '")).toBe('id 7 \nid 8 \n');
});

test('[SM-35] [SM-36] those of another owner are not reached, on either node', async () => {
  const [one, two] = nodes;
  const shortPing = (address: string) => `busybox ping -c 1 -W 2 ${address}`;
  for (const { instances } of nodes) {
    const { status, stdout } = await left.run(inside(one, 'red', shortPing(instances.blue!.ip)));
    expect([status, stdout]).toEqual([1, expect.stringMatching(/100% packet loss/)]);
  }
  // Not by the VLAN of the other owner either, which carries what the host of the other node lets out.
  expect((await right.run(inside(two, 'blue', shortPing(one.instances.red!.ip)))).status).toBe(1);
});

test('[SM-35] what they send arrives as it was over a slow link that loses packets', async () => {
  const [one, two] = nodes;
  for (const machine of [left, right]) await machine.must('tc qdisc add dev eth0 root netem delay 20ms loss 10%');
  await right.must('head -c 300000 /dev/urandom >/run/sent');
  await right.must(
    `systemd-run --quiet --unit=sender ${inside(two, 'red', 'busybox nc -ll -p 7000 -e /bin/cat /run/sent')}`,
  );
  await left.until(
    'everything arrives',
    `${inside(one, 'red', `timeout 60 busybox nc ${two.instances.red!.ip} 7000`)} </dev/null >/run/got; [ "$(stat -c %s /run/got)" = 300000 ]`,
  );
  const sum = 'sha256sum <';
  expect(await left.must(`${sum}/run/got`)).toBe(await right.must(`${sum}/run/sent`));
  for (const machine of [left, right]) await machine.must('tc qdisc delete dev eth0 root');
});

test('[SM-35] networks that are not needed any more are taken away with their VLANs', async () => {
  await left.must('systemctl stop vlan-node', { timeoutS: 60 });
  expect(await left.must("ip -o link | grep -cE 'vlan-|br-|veth' || true")).toBe('0\n');
  expect(await left.must('ip netns list')).toBe('');
});

test('a machine with firmware keeps its UEFI variables when the power is cut', async () => {
  await right.must(`${EFIVARS} && printf '\\007\\000\\000\\000slot-b' >${VARIABLE}`);
  await right.cutPower();
  await right.boot();
  expect(await right.must(`${EFIVARS} && cat ${VARIABLE} | tail -c +5`)).toBe('slot-b');
  expect((await left.run('test -e /sys/firmware/efi')).status).not.toBe(0);
});

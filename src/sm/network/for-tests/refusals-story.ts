/**
 * A CM that gives what cannot be, and a host that has things of its own, for `network-manager.test.ts`; run inside of
 * fresh namespaces.
 */
import type { AosError } from '../../../core/index.ts';
import { HostLinks } from '../../../platform/ip/index.ts';
import { HostNft } from '../../../platform/nft/index.ts';
import { hostInterface } from '../names.ts';
import type { NetworkManager } from '../network-manager.ts';
import { idOf, NetworkHost, outcomeOf, request } from './network-host.ts';
import { makeOutside, OUTSIDE, run } from './outside.ts';

const { signal } = new AbortController();
const host = new NetworkHost();
const result: Record<string, unknown> = {};
await makeOutside();
const OWN_TABLES = `
  add table inet somebody
  add chain inet somebody forward { type filter hook forward priority 10; policy accept; }
  add rule inet somebody forward ip saddr 203.0.113.0/24 counter drop
  add table ip nat
  add chain ip nat postrouting { type nat hook postrouting priority 100; policy accept; }
  add rule ip nat postrouting oifname "uplink" ip saddr 192.0.2.0/24 masquerade`;
await run('sh', ['-c', `echo '${OWN_TABLES}' | nft -f -`]);
await run('ip', ['route', 'add', '203.0.113.0/24', 'via', OUTSIDE.ip]);

/** Everything of the host that is not ours. */
const ofTheHost = async () => [
  (await run('nft', ['list', 'table', 'inet', 'somebody'])).stdout,
  (await run('nft', ['list', 'table', 'ip', 'nat'])).stdout,
  (await run('ip', ['route', 'show'])).stdout.replaceAll(/^.* dev br-.*\n/gm, ''),
  (await run('ip', ['-br', 'address', 'show', 'dev', 'uplink'])).stdout,
];
const before = await ofTheHost();

const start = async (manager: NetworkManager, wanted: ReturnType<typeof request>) =>
  outcomeOf(await manager.start([wanted], signal), wanted);

const manager = host.manager();
await manager.adopt([], signal);
const red = request('red', 'red');
result.first = await start(manager, red);
const during = await ofTheHost();
// As docs/network.md says, for packets that are none of the unit's business.
await run('sh', ['-c', `nft 'add rule inet aos forward iifname "br0" accept comment "of somebody else"'`]);

// Rules for who is not there, and rules that are none, for who is.
const rulesOf = (itemId: string) => host.row(itemId)?.parameters.firewallRules.length;
const rule = { dstIp: '172.18.0.9', dstPort: '80', proto: 'tcp', srcIp: '' };
const update = (itemId: string, more: object) =>
  manager.update({ ident: request(itemId, 'red').info.ident, firewallRules: [{ ...rule, ...more }] }, signal).then(
    () => 'ok',
    (error: AosError) => `${error.code}: ${error.message}`,
  );
result.updates = {
  ofNobody: [await update('nobody', {}), rulesOf('nobody')],
  badPort: [await update('red', { dstPort: '0' }), rulesOf('red')],
  badTarget: [await update('red', { dstIp: '172.18.0.9; flush ruleset' }), rulesOf('red')],
  twice: [await update('red', {}), await update('red', {}), rulesOf('red')],
};

host.cm.subnets.set('overlapping', '172.17.128.0/17');
result.overlapping = await start(manager, request('o', 'overlapping'));
host.cm.subnets.set('of the host', OUTSIDE.subnet);
result.ofTheHost = await start(manager, request('h', 'of the host'));
host.cm.rules.set('rule', [{ dstIp: '172.17.0.9', dstPort: '70000', proto: 'tcp', srcIp: '' }]);
result.rule = await start(manager, request('rule', 'red'));
result.port = await start(manager, request('port', 'red', { exposedPorts: ['80; flush ruleset'] }));
result.fast = await start(manager, request('fast', 'red', { quotas: { downloadSpeed: 20_000_000 } }));
host.cm.vlanIds.set('careless', [4095, 9]).set('reserved', [0]);
host.cm.subnets.set('careless', '172.19.0.0/16').set('reserved', '172.20.0.0/16');
result.careless = await start(manager, request('careless', 'careless'));
result.reserved = await start(manager, request('reserved', 'reserved'));
result.askedAgain = host.cm.log.filter((line) => /careless|reserved/.test(line));
host.cm.subnets.set('climbing/../../..', '172.21.0.0/16');
result.climbing = await start(manager, request('climbing', 'climbing/../../..'));

// VLANs are impossible here, as in every kernel without 8021q: whoever needs them hears so.
host.cm.subnets.set('far', '172.22.0.0/16');
result.vlanRequired = await start(host.manager({ vlan: 'required' }), request('far', 'far'));

// A bridge that somebody else made under the name of ours.
const green = request('green', 'green');
host.cm.subnets.set('green', '172.23.0.0/16');
await start(manager, green);
await manager.stop([idOf(green)], signal);
const bridge = host.bridge('green');
await run('ip', ['link', 'add', bridge, 'type', 'veth', 'peer', 'name', 'other-end']);
result.bridge = (await start(manager, green)).replace(bridge, 'BRIDGE');
result.bridgeStays = (await new HostLinks().list(signal)).some(({ name }) => name === bridge);
if (result.bridgeStays) await run('ip', ['link', 'delete', bridge]);
result.afterwards = await start(manager, green);

// A CM without its database has other addresses for a network.
host.cm.loseDatabase();
host.cm.subnets.set('red', '172.27.0.0/16');
result.otherSubnetWhileRunning = await start(manager, request('late', 'red'));
await manager.stop([idOf(red)], signal);
host.cm.loseDatabase();
result.otherSubnet = [await start(manager, request('late', 'red')), host.ip('late').replace(/\d+$/, 'x')];
result.again = [await start(manager, red), host.ip('red').replace(/\d+$/, 'x')];

result.hostUntouched = JSON.stringify([during, await ofTheHost()]) === JSON.stringify([before, before]);

// One that spoils its batch fails alone, and what a crash left in its place does not matter.
const [good, bad, stale] = [request('good', 'red'), request('bad', 'red'), request('stale', 'red')];
await run('ip', ['netns', 'add', idOf(stale)]);
await run('ip', ['-n', idOf(stale), 'link', 'add', 'eth0', 'type', 'bridge']);
class SpoiledLinks extends HostLinks {
  override shape(lines: readonly string[], stop: AbortSignal): Promise<void> {
    return super.shape(
      lines.map((line) => (line.includes(hostInterface(idOf(bad))) ? 'qdisc add nonsense' : line)),
      stop,
    );
  }
}
const shaped = { quotas: { downloadSpeed: 1000 } };
const wanted = [good, request('bad', 'red', shaped), stale];
const outcomes = await host.manager({ links: new SpoiledLinks() }).start(wanted, signal);
result.batch = wanted.map((one) => outcomeOf(outcomes, one).slice(0, 'runtime: tc'.length));
result.nothingOfTheBad = (await new HostLinks().list(signal)).some(({ name }) => name === hostInterface(idOf(bad)));
// The power goes between the intent and the firewall: the next start makes what was meant.
class DeadNft extends HostNft {
  override async apply(): Promise<void> {
    throw new Error('killed');
  }
}
const isOpen = async () =>
  (await run('nft', ['list', 'table', 'inet', 'aos'])).stdout.includes('tcp dport 4711 accept');
const intent = { ident: good.info.ident, firewallRules: [{ ...rule, dstPort: '4711' }] };
const dying = host.manager({ nft: new DeadNft() });
result.intent = [await dying.update(intent, signal).catch((error: Error) => error.message), await isOpen()];
await host.manager().adopt([good], signal);
result.madeGood = await isOpen();
result.ruleStays = (await run('nft', ['list', 'chain', 'inet', 'aos', 'forward'])).stdout.includes('of somebody else');
host.remove();
console.log(JSON.stringify(result));

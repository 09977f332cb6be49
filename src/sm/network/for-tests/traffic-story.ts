/** Traffic that is counted and cut, for `network-manager.test.ts`; run inside of fresh namespaces. */
import { idOf, NetworkHost, request } from './network-host.ts';
import { connects, makeOutside, OUTSIDE, run, serve } from './outside.ts';

const { signal } = new AbortController();
const BYTES = 200_000;
const DAY_MS = 86_400_000;

const host = new NetworkHost();
const result: Record<string, unknown> = {};
const manager = host.manager();
await makeOutside();
const free = request('free', 'red');
const limited = request('limited', 'red', { quotas: { downloadLimit: BYTES / 2, uploadLimit: 100 * BYTES } });
await manager.adopt([], signal);
await manager.start([free, limited], signal);
const stops = [await serve(OUTSIDE.netns, 80), await serve(idOf(free), 81)];

const roughly = (bytes = 0) => Math.floor(bytes / BYTES);
const ask = (who: typeof free, expected: 'yes' | 'no' = 'yes') =>
  connects(idOf(who), OUTSIDE.ip, 80, expected, BYTES).then((seen) => seen !== false);

await ask(free);
await connects(idOf(limited), host.ip('free'), 81, 'yes', BYTES);
await manager.check(signal);
result.counted = [roughly(manager.traffic(idOf(free))?.download), roughly(manager.traffic(idOf(free))?.upload)];
result.ofPeers = roughly(manager.traffic(idOf(limited))?.download);
result.ofNobody = manager.traffic('nobody');
await connects(OUTSIDE.netns, OUTSIDE.us, 1, 'no');
result.ofTheNode = (manager.traffic(undefined)?.download ?? -1) >= 0;

// What nobody counted while the service manager was away is in the counters.
await ask(free);
const second = host.manager();
await second.adopt([free, limited], signal);
result.afterRestart = roughly(second.traffic(idOf(free))?.download);

result.beforeTheLimit = await ask(limited);
await second.check(signal);
result.overTheLimit = [await ask(limited, 'no'), await ask(free)];
result.peersOverTheLimit = await connects(idOf(limited), host.ip('free'), 81, 'no');

// A power loss takes the counters; what was counted and who is blocked is remembered.
await run('nft', ['delete', 'table', 'inet', 'aos-traffic']);
const third = host.manager();
await third.adopt([free, limited], signal);
result.afterPowerLoss = [roughly(third.traffic(idOf(free))?.download), await ask(limited, 'no')];

await third.stop([idOf(limited)], signal);
await third.start([limited], signal);
result.startedAgain = await ask(limited, 'no');

host.date = new Date(host.date.getTime() + DAY_MS);
await third.check(signal);
result.nextDay = [third.traffic(idOf(free))?.download, await ask(limited)];

await third.stop([free, limited].map(idOf), signal);
await third.release(
  [free, limited].map(({ info }) => info.ident),
  signal,
);
result.rowsAfter = host.database.prepare('SELECT count(*) AS n FROM network_traffic').get()?.n;
for (const stop of stops) stop();
host.remove();
console.log(JSON.stringify(result));

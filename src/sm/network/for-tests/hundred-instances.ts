/**
 * A batch of a hundred instances, for `network-manager.test.ts`: what it costs in programs that are run. Each helper is
 * replaced by one that writes its name down first. Run inside of fresh namespaces.
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { NetworkRows } from '../network-rows.ts';
import { idOf, NetworkHost, request } from './network-host.ts';
import { makeOutside, run } from './outside.ts';

const COUNT = 100;
const { signal } = new AbortController();
const host = new NetworkHost();
await makeOutside();

const log = join(host.directory, 'programs');
const shims = join(host.directory, 'bin');
mkdirSync(shims);
for (const program of ['ip', 'tc', 'nft', 'dnsmasq']) {
  const real = (await run('sh', ['-c', `command -v ${program}`])).stdout.trim();
  writeFileSync(join(shims, program), `#!/bin/sh\necho "${program} $*" >>'${log}'\nexec ${real} "$@"\n`);
  chmodSync(join(shims, program), 0o755);
}
const path = process.env.PATH ?? '';

/** The programs that the work runs; one for each namespace stands as one line with their number. */
async function programsOf(work: () => Promise<unknown>): Promise<string[]> {
  writeFileSync(log, '');
  process.env.PATH = `${shims}${delimiter}${path}`;
  try {
    await work();
  } finally {
    process.env.PATH = path;
  }
  const lines = readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  const inside = new Set(lines.filter((line) => /^ip -n \S+ -batch -$/.test(line)));
  return [
    ...lines.filter((line) => !inside.has(line)).map((line) => line.replace(/(--\S+ ?)+/, '').trim()),
    ...(inside.size > 0 ? [`ip -n ${inside.size} namespaces -batch -`] : []),
  ].sort();
}

let commits = 0;
class CountedRows extends NetworkRows {
  override put(...rows: Parameters<NetworkRows['put']>): void {
    commits += 1;
    super.put(...rows);
  }
}

const manager = host.manager({ vlan: 'off', rows: new CountedRows(host.database) });
await manager.adopt([], signal);
const quotas = { downloadSpeed: 10_000, uploadSpeed: 10_000 };
const wanted = Array.from({ length: COUNT }, (_, index) =>
  request(`item-${index}`, index % 2 === 0 ? 'red' : 'blue', { exposedPorts: ['80'], quotas }),
);
const started = await programsOf(() => manager.start(wanted, signal));
const commitsOfStart = commits;
const ruleset = (await run('nft', ['list', 'table', 'inet', 'aos'], { maxBuffer: 16 * 1024 * 1024 })).stdout;
const stopped = await programsOf(() => manager.stop(wanted.map(idOf), signal));
console.log(
  JSON.stringify({
    started,
    stopped,
    commitsOfStart,
    chains: ruleset.match(/^\tchain instance_/gm)?.length,
    named: ruleset.match(/^\t\tcomment "item-\d+\/s\/0"$/gm)?.length,
    forward: /chain forward \{[^}]*\}/
      .exec(ruleset)?.[0]
      .split('\n')
      .map((line) => line.trim()),
    left: (await run('ip', ['-br', 'link'])).stdout.match(/veth|ifb|br-/g),
  }),
);
host.remove();

/**
 * Power cuts in the middle of updates. One machine that goes on from what each cut left: after every boot its service is the
 * old or the new version and nothing on the disk is damaged; at the end the last wanted version runs.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { noise } from '../../e2e/image.ts';
import { keepTraces } from '../fixture.ts';
import { randomOf } from '../random.ts';
import { cgroupOf, UnitMachine } from '../unit-machine.ts';

const CUTS = Array.from({ length: 10 }, (_, index) => index + 1);
/** An update takes about ten seconds, and some more before and after it; a busy host stretches that. */
const LONGEST_MS = 20_000;
/** Large enough for the update to be under way for some seconds. */
const LAYER_BYTES = 3_000_000;
const SEED = Number(process.env.AOS_VM_SEED ?? '1');

const random = randomOf(SEED);
let unit: UnitMachine;
/** The version that ran when the power went, and the one that was wanted then. */
let versions: readonly string[] = [];

const versionOf = (cut: number) => `1.${cut}.0`;

async function publish(version: string, cut: number): Promise<void> {
  const files = [{ name: 'noise', content: noise(LAYER_BYTES, cut) }];
  await unit.publish('moving', version, 'while :; do sleep 1000; done', { files });
}

/** The version that runs, as its root file system says; undefined when none does. */
async function runningVersion(): Promise<string | undefined> {
  const { stdout } = await unit.machine.run(
    `pid=$(head -n 1 ${cgroupOf('moving')}/cgroup.procs 2>/dev/null) && cat "/proc/$pid/root/version"`,
  );
  return stdout.trim() || undefined;
}

async function untilRuns(accepted: readonly string[]): Promise<string> {
  const pid = `pid=$(head -n 1 ${cgroupOf('moving')}/cgroup.procs) && [ -n "$pid" ]`;
  const check = `version=$(cat "/proc/$pid/root/version") && case "$version" in ${accepted.join('|')}) echo "$version" ;; *) exit 1 ;; esac`;
  return (await unit.machine.until(`${accepted.join(' or ')} runs`, `${pid} && ${check}`, 150_000)).trim();
}

/** Every database is sound, and every blob that is not just being fetched is what its name says. Prints what is not. */
const DAMAGE = `/usr/lib/aoscore/node --no-warnings -e '
const { DatabaseSync } = require("node:sqlite");
for (const path of process.argv.slice(1)) {
  const database = new DatabaseSync(path, { timeout: 60000 });
  const [row] = database.prepare("PRAGMA integrity_check").all();
  if (row.integrity_check !== "ok") console.log(path, JSON.stringify(row));
  database.close();
}
' $(find /var/aos -name 'aos-*.db')
find /var/aos/workdirs -not -path '*/downloads/*' -regex '.*/blobs/sha256/[0-9a-f]*' -type f | while read -r blob; do
  [ "$(sha256sum <"$blob" | cut -d ' ' -f 1)" = "$(basename "$blob")" ] || echo "$blob is damaged"
done`;

beforeAll(async () => {
  unit = await UnitMachine.create({ name: 'power-cut', random });
  await unit.provision();
  await publish(versionOf(0), 0);
  await unit.deploy('moving', versionOf(0));
  versions = [versionOf(0)];
});

keepTraces(() => [unit?.machine]);
afterAll(() => unit?.close());

test.each(CUTS)(
  '[X-11] [R-01] power cut %i in an update leaves the old or the new version and nothing damaged',
  async (cut) => {
    const wanted = versionOf(cut);
    await publish(wanted, cut);
    await unit.want('moving', wanted);
    // What ran is old from now on; several cuts in a row may find more than one version on the way.
    versions = [...versions, wanted];
    await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_MS));
    const losses = await unit.machine.cutPower();
    await unit.machine.boot();
    expect(await unit.machine.must(DAMAGE, { timeoutS: 240 }), `after ${JSON.stringify(losses)}`).toBe('');
    const found = await untilRuns(versions);
    versions = versions.slice(versions.indexOf(found));
  },
);

test('[X-11] [R-01] in the end the last version runs, and the cloud sees it', async () => {
  const last = versionOf(CUTS.length);
  await untilRuns([last]);
  await unit.untilCloud('the last version is active', ({ instances = [] }) =>
    instances.some(
      ({ item, version, instances: [first] }) => item.id === 'moving' && version === last && first?.state === 'active',
    ),
  );
  expect(await runningVersion()).toBe(last);
  expect(await unit.machine.must(DAMAGE, { timeoutS: 240 })).toBe('');
});

/**
 * What a person waits for: each local answer of aosctl as a process, beside a Node.js that does nothing, and the inner loop
 * of an author (`aosctl dev`) from a saved file to its new output. Needs root and what `./dev up` installs; `npm run build`
 * first.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { World } from '../test/e2e/world.ts';
import { formatTable, median, ms, ratio } from './table.ts';

const run = promisify(execFile);
const ROUNDS = 7;
const CHANGES = 5;
const WEB = 'web-of-bench';

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

async function times(rounds: number, work: () => Promise<unknown>): Promise<number[]> {
  const found: number[] = [];
  for (let round = 0; round < rounds; round += 1) found.push(await timed(work));
  return found;
}

const world = await World.create();
try {
  await world.provision();
  await world.publishBusybox(WEB, '1.0.0');
  await world.deploy(WEB, '1.0.0');
  const instance = (await world.unit.status()).instances.find(({ itemId }) => itemId === WEB)!;
  const name = `${instance.itemId}/${instance.subjectId}/${instance.instance}`;
  const config = join(world.unit.layout.etc, 'cm.cfg');

  const bare = median(await times(ROUNDS, () => run(process.execPath, ['-e', '0'])));
  const questions: readonly (readonly string[])[] = [
    ['status'],
    ['nodes'],
    ['items'],
    ['instances'],
    ['networks'],
    ['certs'],
    ['events'],
    ['alerts'],
    ['update'],
    ['plan'],
    ['why', name],
    ['logs', name, '--tail', '10'],
    ['config', 'check', config],
    ['completion', 'bash'],
    ['exec', name, '--', 'true'],
    ['doctor', '--config-dir', world.unit.layout.etc],
  ];
  const rows = [];
  for (const question of questions) {
    // The exit code of doctor says how the unit is, not how long the answer took.
    const took = await times(ROUNDS, () =>
      question[0] === 'doctor' ? world.ctl(...question) : world.must(...question),
    );
    const words = question.slice(0, question[0] === 'config' ? 2 : 1).join(' ');
    rows.push([`aosctl ${words}`, ms(median(took)), ms(Math.max(...took)), ratio(median(took), bare)]);
  }
  console.log(
    formatTable({
      title: 'Local answers of aosctl',
      method: `Each a process of its own, ${ROUNDS} times, on a unit with one instance; a bare Node.js (${ms(bare)}) is 1.`,
      columns: ['command', 'median', 'longest', 'to bare node'],
      rows,
    }),
  );

  const folder = join(world.directory, 'service');
  const say = (text: string) =>
    writeFile(join(folder, 'src', 'app', 'run'), `#!/bin/sh\necho it says ${text}\nwhile :; do sleep 1; done\n`, {
      mode: 0o755,
    });
  await mkdir(join(folder, 'src', 'app'), { recursive: true });
  await say('change 0.');
  await writeFile(
    join(folder, 'config.yaml'),
    `schemaVersion: 2
items:
  - identity: {codename: mine}
    version: 1.0.0
    images: [{sourceFolder: src, archInfo: {architecture: amd64}}]
    configuration: {cmd: /app/run}
`,
  );
  const dev = world.start('dev', folder);
  const first = await timed(() => dev.until(/it says change 0\./));
  const changes: number[] = [];
  for (let change = 1; change <= CHANGES; change += 1) {
    changes.push(
      await timed(async () => {
        await say(`change ${change}.`);
        await dev.until(new RegExp(`it says change ${change}\\.`));
      }),
    );
  }
  dev.process.kill('SIGINT');
  await dev.ended;
  console.log(
    formatTable({
      title: 'The inner loop of an author: aosctl dev',
      method: 'From a saved file to the first line of the new version in the terminal, looked at every 50 ms.',
      columns: ['what', 'median', 'longest'],
      rows: [
        ['start of the command to the first output', ms(first), ms(first)],
        [`change to new output, ${CHANGES} times`, ms(median(changes)), ms(Math.max(...changes))],
      ],
    }),
  );
} finally {
  await world.close();
}

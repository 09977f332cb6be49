/**
 * What a person waits for: each local answer of aosctl as a process, with daemons and without, beside a Node.js that does
 * nothing, and the inner loop of an author (`aosctl dev`) from a saved file to its new output. Needs root and what `./dev up`
 * installs; `npm run build` first.
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

/** Each question and the bare Node.js in turn, so that what else the machine does befalls all alike. */
async function answers(
  where: string,
  questions: readonly (readonly string[])[],
  ask: (question: readonly string[]) => Promise<unknown>,
): Promise<void> {
  const bare: number[] = [];
  const took = questions.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    bare.push(await timed(() => run(process.execPath, ['-e', '0'])));
    for (const [index, question] of questions.entries()) took[index]!.push(await timed(() => ask(question)));
  }
  console.log(
    formatTable({
      title: `Local answers of aosctl ${where}`,
      method: `Each a process of its own, ${ROUNDS} times; a bare Node.js (${ms(median(bare))}) is 1.`,
      columns: ['command', 'median', 'longest', 'to bare node'],
      rows: questions.map((question, index) => [
        `aosctl ${question.slice(0, question[0] === 'config' ? 2 : 1).join(' ')}`,
        ...[ms(median(took[index]!)), ms(Math.max(...took[index]!)), ratio(median(took[index]!), median(bare))],
      ]),
    }),
  );
}

const world = await World.create();
try {
  await world.provision();
  await world.publishBusybox(WEB, '1.0.0');
  await world.deploy(WEB, '1.0.0');
  const instance = (await world.unit.status()).instances.find(({ itemId }) => itemId === WEB)!;
  const name = `${instance.itemId}/${instance.subjectId}/${instance.instance}`;
  const config = join(world.unit.layout.etc, 'cm.cfg');

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
  // The exit code of doctor says how the unit is, not how long the answer took.
  await answers('with daemons, on a unit with one instance', questions, (question) =>
    question[0] === 'doctor' ? world.ctl(...question) : world.must(...question),
  );
  const nobody = ['--socket', join(world.directory, 'nobody.sock')];
  await answers('without daemons', questions, (question) => world.ctl(...nobody, ...question));

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

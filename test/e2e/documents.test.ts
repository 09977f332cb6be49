/**
 * What the pages for people tell to type, typed: their own lines, by a shell, in the order in which somebody reads them.
 * `./dev up` itself has a story of its own (dev-up.test.ts); here a cloud and a blank unit stand where it puts them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleOf } from '../../devenv/daemon-process.ts';
import { PROJECT_ROOT } from '../../devenv/project.ts';
import { differences } from '../../scripts/json-page.ts';
import { REGISTRATION_PATH, registrationOf } from '../../src/cloud/scripted-unit-for-tests.ts';
import { writeImage } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 180_000;
const tag = randomBytes(2).toString('hex');

/** Names of the pages that would meet those of another run of tests on this machine. */
const OWN_NAMES: readonly (readonly [of: string | RegExp, own: string])[] = [
  ['unit-7f31c2', `unit-7f31${tag}`],
  ['unit-91aa04', `unit-91aa${tag}`],
];
const [UNIT, OTHER_UNIT] = OWN_NAMES.map(([, own]) => own) as [string, string];

let world: World;
/** Where the reader's shell is: beside `dev`, with `.aos` in it. */
let directory: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  world = await World.create({ unit: { identity: { systemId: UNIT, subjects: ['subject-1'] } } });
  directory = join(world.directory, 'shell');
  const bin = join(directory, 'bin');
  await mkdir(bin, { recursive: true });
  await symlink(world.directory, join(directory, '.aos'));
  const program = async (path: string, text: string) => {
    await writeFile(path, `#!/bin/sh\n${text}\n`);
    await chmod(path, 0o755);
  };
  for (const name of ['aosctl', 'aos-cloud']) {
    await program(join(bin, name), `exec '${process.execPath}' '${bundleOf(name)}' "$@"`);
  }
  const ctl = join(PROJECT_ROOT, 'devenv', 'ctl.ts');
  await program(join(directory, 'dev'), `[ "$1" = ctl ] || exit 2\nshift\nexec '${process.execPath}' '${ctl}' "$@"`);
  env = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    AOS_DEV_DIR: world.directory,
    AOSCTL_PROFILE: join(world.directory, 'aosctl.json'),
  };
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

/** Blocks of commands that were typed. */
const typed = new Set<string>();

const blocksOf = (page: string): string[] =>
  [...readFileSync(join(PROJECT_ROOT, page), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1]!);

/** The only block of commands of a page with these words in it, line by line; what people put in their own words for is filled. */
function block(page: string, words: string): string[] {
  const fitting = blocksOf(page).filter((one) => one.includes(words));
  if (fitting.length !== 1) throw new Error(`${page} has ${fitting.length} blocks of commands with "${words}"`);
  typed.add(fitting[0]!);
  return filled(fitting[0]!).trimEnd().split('\n');
}

/** A command that stands in a sentence of a page. */
function mention(page: string, command: string): string {
  const text = readFileSync(join(PROJECT_ROOT, page), 'utf8').replaceAll(/\s+/g, ' ');
  if (!text.includes(`\`${command}\``)) throw new Error(`${page} does not tell to type: ${command}`);
  return filled(command);
}

function filled(text: string): string {
  const own = OWN_NAMES.reduce((changed, [of, name]) => changed.replaceAll(of, name), text);
  return own.replaceAll('<system id>', UNIT).replaceAll('<address of the board>', world.unit.provisioningAddress);
}

interface Said {
  readonly code: number;
  readonly text: string;
}

/** Types lines into a shell that ends with the first one that fails. */
function type(...lines: readonly string[]): Promise<Said> {
  return new Promise((resolve) => {
    const shell = execFile('bash', ['-euc', lines.join('\n')], { cwd: directory, env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, text: `${stdout}${stderr}` }),
    );
    shell.stdin?.end();
  });
}

/** The same, for lines that end well. */
async function must(...lines: readonly string[]): Promise<string> {
  const { code, text } = await type(...lines);
  if (code !== 0) throw new Error(`${lines.join('\n')}\nended with ${code}:\n${text}`);
  return text;
}

/** Types a line that goes on, until it has said something, and Ctrl-C then. Answers all that it said. */
async function untilCtrlC(line: string, pattern: RegExp, meanwhile?: () => Promise<unknown>): Promise<string> {
  // A terminal sends Ctrl-C to everything that runs in it: here to a group of processes.
  const child: ChildProcess = spawn('bash', ['-euc', line], {
    ...{ cwd: directory, env, detached: true },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  try {
    await world.until(
      `${line} says ${pattern}`,
      async () => text,
      (said) => pattern.test(said),
    );
    await meanwhile?.();
  } finally {
    process.kill(-child.pid!, 'SIGINT');
  }
  await ended;
  return text;
}

/** The line of a block that begins so. */
const lineOf = (lines: readonly string[], start: string): string => {
  const line = lines.find((one) => one.startsWith(start));
  if (line === undefined) throw new Error(`no line begins with ${start}:\n${lines.join('\n')}`);
  return line;
};

describe('the pages tell what works', () => {
  test(
    'docs/install.md, README.md and docs/start.md: a blank unit becomes a member of the cloud, and is looked at',
    async () => {
      const since = world.unit.supervisor.history.length;
      const [provision, status] = block('docs/install.md', 'aosctl provision <address of the board>');
      expect(await must(provision!)).toMatch(new RegExp(`${UNIT} is provisioned with 1 node`));
      for (const program of ['aos-iam', 'aos-cm', 'aos-sm']) {
        await world.unit.supervisor.waitFor(
          (event) => event.kind === 'ready' && event.program === program,
          STORY_MS,
          since,
        );
      }
      await world.untilCloud('the unit is online', (unit) => unit.online);
      expect(await must(status!)).toMatch(/connection +online/);

      expect(await must(...block('README.md', './dev ctl status'))).toMatch(
        new RegExp(`unit +${UNIT}[\\s\\S]*${UNIT} +yes`),
      );
      const look = block('docs/start.md', './dev ctl events');
      expect(await must(...look.slice(0, 2))).toMatch(/connected since[\s\S]*connection +online/);
      await untilCtrlC(lineOf(look, './dev ctl events'), /link/);
      await untilCtrlC(lineOf(look, 'tail -f'), /"msg":/);
    },
    STORY_MS,
  );

  test(
    'docs/services.md: from an empty folder to a running service, which Ctrl-C removes',
    async () => {
      const lines = block('docs/services.md', './dev ctl dev hello');
      await must(...lines.slice(0, -1));
      const said = await untilCtrlC(lines.at(-1)!, /hello\n[\s\S]*hello\n/, async () => {
        const look = mention('docs/services.md', './dev ctl exec hello-dev -- sh');
        expect(await must(`echo 'cat /app/run' | ${look}`)).toContain('echo hello');
      });
      expect(said).toMatch(/hello-dev is removed/);
      const [publish, deploy, logs] = block('docs/services.md', './dev ctl publish hello');
      await must(publish!);
      expect(await must('aosctl items --published')).toMatch(/hello +service +1\.0\.0/);
      await must(deploy!);
      await world.until(
        logs!,
        () => must(logs!),
        (text) => text.includes('hello'),
      );
      await must('./dev ctl undeploy hello --wait 60');
    },
    STORY_MS,
  );

  test(
    'docs/logs.md: what an instance writes, before and after it was ended; docs/start.md: a daemon is killed, and it goes on',
    async () => {
      await world.publishBusybox('mosquitto', '1.0.0');
      await world.deploy('mosquitto', '1.0.0', '--subject', 'subject-1');
      const first = await world.pidOf('mosquitto');
      await must(block('docs/start.md', 'kill -9')[0]!);
      await world.unit.supervisor.untilReady('aos-cm');
      expect(await world.pidOf('mosquitto')).toBe(first);

      process.kill(first, 'SIGKILL');
      await world.until(
        'it runs again',
        () => world.pidOf('mosquitto'),
        (pid) => pid !== first,
      );
      const lines = block('docs/logs.md', 'the only instance of an item on this node');
      // It runs before it has written anything.
      for (const line of lines) {
        if (/ -f( |$)/.test(line)) await untilCtrlC(line, /mosquitto 1\.0\.0/);
        else
          await world.until(
            line,
            () => must(line),
            (said) => said.includes('mosquitto 1.0.0'),
          );
      }
      expect(lines.length).toBeGreaterThanOrEqual(5);
      const [throughCloud, ofSystem] = block('docs/logs.md', 'aosctl logs mosquitto/subject-1/0 --unit');
      expect(await must(throughCloud!)).toContain('mosquitto 1.0.0');
      // There may be no journal here: that of a unit in a machine is read by test/vm. Code 2: it is not understood.
      expect((await type(ofSystem!)).code).not.toBe(2);
    },
    STORY_MS,
  );

  test(
    'docs/why.md: an instance that has no room is told as on the page',
    async () => {
      const page = readFileSync(join(PROJECT_ROOT, 'docs', 'why.md'), 'utf8');
      const [, line, shown] = /^```console\n\$ (.+)\n([\s\S]*?)^```/m.exec(page)!;
      await world.publishBusybox('web', '2.0.0', { requestedResources: { ram: 1e15 } });
      await world.wish('web', '2.0.0');
      /** Without what differs from unit to unit. */
      const words = (text: string) =>
        text
          .replaceAll(/\d{4}-\d\d-\d\dT\S+/g, '<time>')
          .replaceAll(/runtime [0-9a-f-]+…?/g, 'runtime <id>')
          .replaceAll(/\d{4,}/g, '<bytes>')
          .trimEnd()
          .split('\n');
      const told = await world.until(
        'it is told as on the page',
        () => must(line!),
        (said) => words(shown!).every((expected) => words(said).includes(expected)),
      );
      expect(told).toMatch(/^instance web\/default\/0: version 2\.0\.0 is failed\n/);
      await must('aosctl undeploy web --wait 60');
    },
    STORY_MS,
  );

  test(
    'docs/concepts.md and docs/configure.md: each thing can be looked at, and an update held up',
    async () => {
      const page = readFileSync(join(PROJECT_ROOT, 'docs', 'concepts.md'), 'utf8');
      const needsMore = new Set(['aosctl deploy', 'aosctl top']);
      const looks = [...new Set([...page.matchAll(/`(aosctl [^`<…]+)`/g)].map((match) => match[1]!))];
      for (const line of looks.filter((one) => !needsMore.has(one))) await must(line);
      expect(looks.length).toBeGreaterThan(10);
      expect(await must(mention('docs/monitoring.md', 'aosctl --json top --once'))).toMatch(/mosquitto/);

      const lock = 'aosctl update lock --owner drive --reason "the car moves" --for 2h';
      await must(mention('docs/configure.md', lock));
      expect(await must('aosctl update')).toMatch(/drive.*the car moves/s);
      await must(mention('docs/configure.md', 'aosctl update unlock --owner drive'));
      expect(await must('aosctl update')).not.toMatch(/the car moves/);
    },
    STORY_MS,
  );

  test(
    'docs/json.md: answers for programs have the members that it tells',
    async () => {
      const values = (text: string): unknown => {
        const lines = text.trimEnd().split('\n');
        // One value a line, or one value over many lines.
        return lines.every((line) => /^\{.*\}$/.test(line)) ? lines.map((line) => JSON.parse(line)) : JSON.parse(text);
      };
      const untold = async (command: string, heading = command) =>
        differences(heading, values(await must(`aosctl --json ${command}`))).map((member) => `${command}: ${member}`);
      const found = [
        ...(await untold('status')),
        ...(await untold('nodes')),
        ...(await untold('items')),
        ...(await untold('instances')),
        ...(await untold('events')),
        ...(await untold('logs mosquitto', 'logs')),
        ...(await untold('networks')),
        ...(await untold('certs')),
        ...(await untold('doctor || true', 'doctor')),
        ...(await untold('why mosquitto', 'why')),
        ...(await untold('plan')),
        ...(await untold('top --once', 'top')),
        ...(await untold('items --published')),
        ...(await untold('users', 'users, user add')),
        ...(await untold('units', 'status --unit')),
        ...(await untold(`status --unit ${UNIT}`, 'status --unit')),
        ...(await untold(`deployments --unit ${UNIT}`, 'deployments')),
      ];
      expect(found).toEqual([]);
    },
    STORY_MS,
  );

  test(
    'docs/keys.md: the keys of the unit are there, and never leave the token',
    async () => {
      const lines = block('docs/keys.md', 'pkcs11-tool');
      const list = (token: string) => must(...lines.map((line) => line.replace('--token-label aoscore', token)));
      const listed = (await must(...lines)) + (await list(mention('docs/keys.md', '--token-label aoscloud')));
      const keys = listed.split('Private Key Object').length - 1;
      expect(keys).toBe(5);
      expect(listed.match(/sensitive, always sensitive, never extract/g)).toHaveLength(keys);
    },
    STORY_MS,
  );

  test(
    'docs/firmware.md: a component is published',
    async () => {
      await writeImage(join(directory, 'my-layout'), {
        cmd: [],
        layers: [[{ name: 'firmware', content: 'version 2' }]],
      });
      await must(...block('docs/firmware.md', 'aosctl publish my-layout'));
      expect(await must('aosctl items --published')).toMatch(/boot-fw +component +2\.0\.0/);
    },
    STORY_MS,
  );

  test(
    'docs/cloud.md: a backup while the cloud runs, and what it holds in an empty directory',
    async () => {
      const [backup, restore] = block('docs/cloud.md', 'aos-cloud backup').map((line) =>
        line.replace('/backup/', `${directory}/`),
      );
      const config = JSON.parse(await readFile(world.cloud.layout.config, 'utf8')) as { workingDir: string };
      await copyFile(world.cloud.layout.config, join(directory, 'cloud.cfg'));
      const size = /\d+ files, \d+ bytes/;
      const [written] = size.exec(await must(backup!))!;
      const other = { ...config, workingDir: join(directory, 'restored') };
      await writeFile(join(directory, 'cloud.cfg'), JSON.stringify(other));
      expect(await must(restore!)).toContain(written);
    },
    STORY_MS,
  );

  test(
    'docs/bundles.md: a unit is updated without its cloud',
    async () => {
      const { request } = await registrationOf(OTHER_UNIT);
      await world.rest.send('POST', REGISTRATION_PATH, request);
      await world.publishBusybox('navigation', '2.1.0');
      // What the cloud wants from here on does not reach the unit.
      const cm = world.unit.supervisor.daemon('aos-cm');
      await cm.stop();
      expect(await must(...block('docs/bundles.md', 'aosctl deploy navigation'))).toMatch(
        new RegExp(`workshop.aosbundle is for ${UNIT}: \\d+ bytes`),
      );
      expect(await must(...block('docs/bundles.md', 'fleet.aosbundle'))).toMatch(
        new RegExp(`is for ${UNIT}, ${OTHER_UNIT}`),
      );
      await world.cloud.goAway();
      await cm.start();
      await world.unit.supervisor.untilReady('aos-cm');
      await world.untilUnit('its node is connected', ({ nodes }) => nodes.some(({ connected }) => connected));
      const said = await must(...block('docs/bundles.md', 'aosctl apply'));
      expect(said).toMatch(/an update would start[\s\S]*is carried out\n {2}(?:mosquitto|navigation)/);
      expect(await world.versionOf('navigation')).toBe('navigation 2.1.0');
    },
    STORY_MS,
  );

  test('and no block of commands of any page is left out without a reason', () => {
    const pages = ['README.md', ...readdirSync(join(PROJECT_ROOT, 'docs'), { recursive: true, encoding: 'utf8' })]
      .filter((name) => name.endsWith('.md'))
      .map((name) => (name === 'README.md' ? name : join('docs', name)));
    const left = pages.flatMap((page) =>
      blocksOf(page)
        .filter((one) => !typed.has(one))
        .map((one) => `${page}: ${one.split(/\s{2,}|\n/)[0]}`),
    );
    expect(left.toSorted()).toEqual(
      [
        // Stories of their own: dev-up.test.ts, and all that CI runs.
        ...['README.md: ./dev up', 'README.md: npm run build', 'docs/start.md: ./dev up'],
        ...['docs/test.md: ./dev test', 'docs/test.md: ./dev test --vm', 'docs/test.md: npm run soak'],
        // Every cloud of a test is started like this.
        'docs/cloud.md: npm ci && npm run generate',
        // A unit of several nodes, and nodes that come and go: provisioning.test.ts, multi-node.test.ts.
        'docs/multi-node.md: aosctl nodes --unit <system id>',
        'docs/provisioning.md: aosctl node deprovision <node id> --unit <system id>',
        'docs/provisioning.md: aosctl node provision <node id> --unit <system id>',
        'docs/provisioning.md: aosctl provision 192.168.1.10',
        'docs/provisioning.md: aosctl provision 192.168.1.10 --nodes 3',
        // A board with systemd, its package, its partitions and its journal: test/vm.
        'docs/install.md: apt remove aoscore',
        'docs/install.md: aosctl status',
        'docs/install.md: mkfs.ext4 -O quota,project -E quotatype=usrquota:prjquota -L aos-var /dev/mmcblk0p3',
        'docs/install.md: npm run package',
        // Packages of some programs: packaging/chosen-programs.test.ts.
        'docs/board.md: npm run package',
        'docs/install.md: ssh root@board mkdir -p /usr/share/ca-certificates/aos',
        "docs/install.md: systemctl status 'aos-*'",
        `docs/logs.md: journalctl -u aos-cm -u aos-sm -o cat | grep -E '"msg":"[a-z ]+: (begin|end|failed)"'`,
        'docs/provisioning.md: /usr/lib/aoscore/hooks/deprovision async',
      ].toSorted(),
    );
  });
});

/** What people do on a node: look at it, look into an instance, find out what is wrong. A whole unit, and aosctl as a process. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { World } from './world.ts';

const STORY_MS = 120_000;
const WEB = `web-${randomBytes(3).toString('hex')}`;

let world: World;

beforeAll(async () => {
  world = await World.create();
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly found: string;
  readonly cure?: string;
}

const configDir = () => world.unit.layout.etc;

async function doctor(): Promise<{ readonly code: number; readonly wrong: Finding[] }> {
  const { code, stdout } = await world.ctl('--json', 'doctor', '--config-dir', configDir());
  return { code, wrong: (JSON.parse(stdout) as Finding[]).filter(({ level }) => level === 'fault') };
}

describe('[P-08] aosctl doctor', () => {
  test('on a blank node says how it gets on', async () => {
    const { stdout } = await world.ctl('doctor', '--config-dir', configDir());
    expect(stdout).toMatch(/daemon aos-cm: .*blank\n +aosctl provision/);
  });

  test(
    'finds nothing broken on a unit that is online, and the daemon that is ended',
    async () => {
      await world.provision();
      await world.publishBusybox(WEB, '1.0.0');
      await world.deploy(WEB, '1.0.0');
      expect(await doctor()).toEqual({ code: 0, wrong: [] });

      const sm = world.unit.supervisor.daemon('aos-sm');
      await sm.stop('SIGKILL');
      try {
        const { code, wrong } = await doctor();
        expect(code).toBe(1);
        expect(wrong).toEqual([
          expect.objectContaining({ check: 'daemon aos-sm', cure: expect.stringMatching(/systemctl status aos-sm/) }),
        ]);
        // The node is not connected, which is a consequence and told as such.
        await world.until(
          'the CM has seen it',
          () => world.must('doctor', '--config-dir', configDir()).catch(({ message }: Error) => message),
          (said) => /warn {2}node main: its aos-sm is not connected/.test(said),
        );
      } finally {
        await sm.start();
        await world.unit.supervisor.untilReady('aos-sm');
      }
    },
    STORY_MS,
  );

  test(
    'names a PIN that is gone, and one that is wrong when IAM cannot start with it',
    async () => {
      const { pinFile } = world.unit.layout;
      const iam = world.unit.supervisor.daemon('aos-iam');
      const pin = await readFile(pinFile, 'utf8');
      const tokenOf = async () => (await doctor()).wrong.filter(({ check }) => check.startsWith('token'));
      await rename(pinFile, `${pinFile}.away`);
      await iam.stop();
      try {
        const gone = await tokenOf();
        expect(gone.length).toBeGreaterThan(0);
        for (const { found } of gone) expect(found).toMatch(/does not exist/);
        await writeFile(pinFile, '0000');
        // The store of SoftHSM is where the package says on a device; here it is in the directory of the test.
        process.env.SOFTHSM2_CONF = world.unit.layout.softhsmConf;
        const wrong = await tokenOf();
        expect(wrong).toHaveLength(gone.length);
        for (const { found, cure } of wrong) {
          expect(found).toMatch(/is wrong/);
          expect(cure).toMatch(/backup|provision/);
        }
      } finally {
        await writeFile(pinFile, pin);
        await iam.start();
        await world.unit.supervisor.untilReady('aos-iam');
      }
      await world.until('nothing is wrong any more', doctor, ({ wrong }) => wrong.length === 0);
    },
    STORY_MS,
  );

  test(
    'names who has taken the port of a daemon',
    async () => {
      const cm = world.unit.supervisor.daemon('aos-cm');
      const config = JSON.parse(await readFile(join(configDir(), 'cm.cfg'), 'utf8')) as Record<string, unknown>;
      const address = Object.entries(config).find(([key]) => key.toLowerCase() === 'cmserverurl')![1] as string;
      const port = Number(address.split(':').at(-1));
      await cm.stop();
      // Service managers that come by are sent away.
      const thief = createServer((socket) => socket.destroy());
      try {
        await new Promise<void>((resolve) => thief.listen(port, resolve));
        const { wrong } = await doctor();
        expect(wrong).toContainEqual(
          expect.objectContaining({
            check: `port ${port}`,
            found: expect.stringMatching(new RegExp(`aos-cm needs it .* \\(pid ${process.pid}\\) listens on it`)),
          }),
        );
      } finally {
        await new Promise((resolve) => thief.close(resolve));
        await cm.start();
        await world.unit.supervisor.untilReady('aos-cm');
      }
      await world.until('nothing is wrong any more', doctor, ({ wrong }) => wrong.length === 0);
    },
    STORY_MS,
  );

  test('names a configuration that cannot be read, with the line', async () => {
    const path = join(configDir(), 'cm.cfg');
    const good = await readFile(path, 'utf8');
    try {
      await writeFile(path, '{\n  "a": 1,\n  oops\n}');
      const { wrong } = await doctor();
      expect(wrong).toEqual([expect.objectContaining({ check: `configuration ${path}` })]);
      expect(wrong[0]!.found).toMatch(/is not JSON.*line 3/);
    } finally {
      await writeFile(path, good);
    }
  });
});

test('[P-05] aosctl exec is in the instance that the cloud deployed', async () => {
  expect(await world.must('exec', WEB, '--', 'cat', '/version')).toBe(`${WEB} 1.0.0\n`);
  const { code, stderr } = await world.ctl('exec', WEB, '--', 'sh', '-c', 'echo sorry >&2; exit 9');
  expect({ code, stderr }).toEqual({ code: 9, stderr: 'sorry\n' });
});

describe('[P-02] what runs on this node', () => {
  test.each([
    ['status', /unit-\w+[\s\S]*connected/],
    ['nodes', /^NODE.*\n.*main/],
    ['items', new RegExp(`^ITEM.*\\n.*${WEB}.*1\\.0\\.0`)],
    ['instances', new RegExp(`^INSTANCE.*\\n.*${WEB}.*active`)],
    ['networks', /^INSTANCE|^\(none\)/],
    ['certs', /^TYPE[\s\S]*online[\s\S]*yes/],
    ['events', new RegExp(WEB)],
  ])('aosctl %s is a table for people and JSON for programs', async (command, table) => {
    expect(await world.must(command)).toMatch(table);
    const json = await world.must('--json', command);
    // What goes on is one value per line.
    const values = command === 'events' ? json.trim().split('\n') : [json];
    for (const value of values) expect(JSON.parse(value)).toEqual(expect.any(Object));
  });

  test(
    'with --watch a table comes again when it has changed, until Ctrl-C',
    async () => {
      const watched = world.start('instances', '--watch');
      try {
        await watched.until(/1\.0\.0/);
        await world.publishBusybox(WEB, '1.0.1');
        await world.deploy(WEB, '1.0.1');
        await watched.until(/1\.0\.1 .*active/);
      } finally {
        watched.process.kill('SIGINT');
      }
      expect(await watched.ended).toBe(0);
    },
    STORY_MS,
  );
});

describe('[P-10] aosctl config check', () => {
  const check = async (name: string, text: string, ...more: string[]) => {
    const path = join(world.directory, name);
    await writeFile(path, text);
    const { code, stdout } = await world.ctl('config', 'check', path, ...more);
    return { code, said: stdout.replaceAll(path, name) };
  };

  test('has nothing against the files of this unit', async () => {
    const files = ['cm', 'sm', 'iam'].map((name) => join(configDir(), `${name}.cfg`));
    const { code, stdout } = await world.ctl('config', 'check', ...files);
    expect({ code, stdout }).toEqual({ code: 0, stdout: files.map((file) => `${file}: ok\n`).join('') });
  });

  test.each([
    ['iam.cfg', '{\n  "x": 1,\n}', /iam\.cfg is not JSON: .*line 3/],
    ['unit_config.json', '{"version": "1.0.0",\n "nodes": [\n 3]}', /:3: nodes\[0\]: .*found 3/],
    [
      'item.json',
      '{\n "quotas": {\n  "ramLimit": "much"\n }\n}',
      /item\.json:3: .*quotas\.ramLimit: .*expected number.*found "much"/,
    ],
  ])('names file, line, key, value and expectation: %s', async (name, text, expected) => {
    const { code, said } = await check(name, text);
    expect(said).toMatch(expected);
    expect(code).toBe(1);
  });

  test.each([
    ['cm.cfg', 'workingDir', 'workingDir', /expected a text, found 5/],
    ['sm.cfg', 'plugin', 'runtimes[0].plugin', /expected a text, found 5/],
  ])('a value of the wrong type in a whole %s', async (name, key, field, expectation) => {
    const config = JSON.parse(await readFile(join(configDir(), name), 'utf8')) as object;
    const text = JSON.stringify(config, null, 2).replace(new RegExp(`"${key}": "[^"]*"`), `"${key}": 5`);
    const line = text.split('\n').findIndex((entry) => entry.includes(`"${key}": 5`)) + 1;
    const { code, said } = await check(name, text);
    expect(said).toContain(`${name}:${line}: ${field}: `);
    expect(said).toMatch(expectation);
    expect(code).toBe(1);
  });

  test('an unknown key is a warning that names the nearest; a name that says nothing needs the kind', async () => {
    const config = JSON.parse(await readFile(join(configDir(), 'cm.cfg'), 'utf8')) as object;
    const text = JSON.stringify({ ...config, workingDirr: '/x' });
    const unknown = await check('other', text);
    expect(unknown.code).toBe(2);
    expect(await check('other', text, '--kind', 'cm')).toEqual({
      code: 0,
      said: 'other: warning: unknown key "workingDirr" is ignored; did you mean "workingDir"?\n',
    });
    expect((await world.ctl('config', 'check', '/no/cm.cfg')).code).toBe(1);
  });
});

test(
  '[P-09] the support bundle tells the state of the node, and no secret of it',
  async () => {
    const { layout } = world.unit;
    const pin = (await readFile(layout.pinFile, 'utf8')).trim();
    const password = `password-${randomBytes(8).toString('hex')}`;
    const keyText = randomBytes(32).toString('base64');
    // Secrets where people put them by mistake.
    await writeFile(join(configDir(), 'extra.cfg'), JSON.stringify({ database: { password } }));
    await writeFile(
      join(layout.logs, 'careless.log'),
      `the PIN is ${pin}, AOS_SECRET=${password}\nBearer ${password}\n` +
        `-----BEGIN PRIVATE KEY-----\nMC4${keyText}\n-----END PRIVATE KEY-----\n`,
    );
    const archive = join(world.directory, 'bundle.tar.gz');
    const where = ['--config-dir', configDir(), '--log-dir', layout.logs, '--output', archive];
    expect(await world.must('support-bundle', ...where)).toBe(`${archive}\n`);

    const directory = await mkdtemp(join(world.directory, 'bundle-'));
    execFileSync('tar', ['-xzf', archive, '-C', directory, '--strip-components=1']);
    const read = (name: string) => readFile(join(directory, name), 'utf8');
    expect(JSON.parse(await read('cm/status.json'))).toMatchObject({
      systemId: world.systemId,
      instances: [expect.objectContaining({ itemId: WEB, state: 'active' })],
    });
    expect(JSON.parse(await read('sm/instances.json'))).toEqual([expect.objectContaining({ itemId: WEB })]);
    expect(JSON.parse(await read('iam/status.json'))).toMatchObject({ mode: 'normal' });
    expect(await read('logs/aos-cm.log')).toContain('starting');
    expect(await read('cm/events.json')).toContain(WEB);
    expect(JSON.parse(await read('config/extra.cfg'))).toEqual({ database: { password: '(removed)' } });

    const everything = execFileSync('grep', ['-r', '', directory], { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 });
    for (const secret of [pin, password, keyText, 'PRIVATE KEY-----']) expect(everything.includes(secret)).toBe(false);
  },
  STORY_MS,
);

describe('[P-12] a unit whose cloud is gone', () => {
  const bundle = () => join(world.directory, 'workshop.aosbundle');
  const cm = () => world.unit.supervisor.daemon('aos-cm');
  const restarted = async () => {
    await cm().start();
    await world.unit.supervisor.untilReady('aos-cm');
    await world.untilUnit('its node is connected', ({ nodes }) => nodes.some(({ connected }) => connected));
  };
  let before: string;

  beforeAll(async () => {
    before = await world.versionOf(WEB);
    // What the cloud wants from here on does not reach the unit.
    await cm().stop();
    await world.publishBusybox(WEB, '1.2.0', {}, 2_000_000);
    await world.wish(WEB, '1.2.0');
    expect(await world.must('bundle', bundle())).toMatch(/workshop\.aosbundle is for unit-\w+: \d+ bytes/);
    await world.cloud.goAway();
    await restarted();
  }, STORY_MS);

  /** The bundle with one byte changed, behind its head. */
  async function damaged(at: number): Promise<string> {
    const bytes = await readFile(bundle());
    bytes[at]! ^= 1;
    const path = join(world.directory, `damaged-at-${at}.aosbundle`);
    await writeFile(path, bytes);
    return path;
  }

  test('is shown what a bundle would do', async () => {
    const said = await world.must('plan', bundle());
    expect(said).toMatch(new RegExp(`an update would start[\\s\\S]*downloaded\n  ${WEB} 1\\.2\\.0`));
    expect(await world.versionOf(WEB)).toBe(before);
  });

  test('refuses one that was damaged on its way, cut short, or is something else, and goes on as it was', async () => {
    const size = (await readFile(bundle())).length;
    const cut = join(world.directory, 'cut.aosbundle');
    await writeFile(cut, (await readFile(bundle())).subarray(0, size / 2));
    for (const [path, words] of [
      [await damaged(700), /the bundle is not believed: signature is wrong|no bundle/],
      [await damaged(Math.floor(size / 2)), /the bundle is damaged: blob sha256:.*; copy it again/],
      [cut, /the bundle is cut short|ends too early/],
      ['/etc/hostname', /is no bundle; "aosctl bundle" at the cloud makes one/],
      ['/no/such/file', /cannot read \/no\/such\/file/],
    ] as const) {
      const { code, stderr } = await world.ctl('apply', path);
      expect(stderr).toMatch(words);
      expect(code).not.toBe(0);
    }
    expect(await world.versionOf(WEB)).toBe(before);
    expect((await world.unit.status()).update.state).toBe('none');
  });

  test(
    'whose CM is killed while it takes a bundle is as before, or has it',
    async () => {
      const env = cm().spec.env as Record<string, string>;
      for (const point of ['cm.bundle.received', 'cm.bundle.renamed']) {
        env.AOS_FAULT = point;
        await cm().stop();
        await restarted();
        const { code, stderr } = await world.ctl('apply', bundle());
        expect([code, stderr]).not.toEqual([0, '']);
        delete env.AOS_FAULT;
        await cm().stop();
        await restarted();
        expect(await world.versionOf(WEB)).toBe(before);
      }
    },
    STORY_MS,
  );

  test(
    'takes the new version from the bundle; the same once more changes nothing',
    async () => {
      expect(await world.must('apply', bundle(), '--wait', '60')).toMatch(
        new RegExp(`is carried out\n  ${WEB} 1\\.2\\.0`),
      );
      expect(await world.versionOf(WEB)).toBe(`${WEB} 1.2.0`);
      const pid = await world.pidOf(WEB);
      expect(await world.must('apply', bundle())).toMatch(/changes nothing/);
      expect(await world.pidOf(WEB)).toBe(pid);
    },
    STORY_MS,
  );

  test(
    'keeps it when the cloud is there again, and then follows the cloud',
    async () => {
      const pid = await world.pidOf(WEB);
      await world.cloud.comeBack();
      await world.untilActive(WEB, '1.2.0');
      expect(await world.pidOf(WEB)).toBe(pid);
      await world.publishBusybox(WEB, '1.3.0');
      await world.deploy(WEB, '1.3.0');
      const { code, stderr } = await world.ctl('apply', bundle());
      expect(stderr).toMatch(/the bundle is too old: .* a desired status of the cloud of .* is in force/);
      expect(code).toBe(1);
      expect(await world.versionOf(WEB)).toBe(`${WEB} 1.3.0`);
    },
    STORY_MS,
  );
});

test(
  'aosctl dev runs a folder, again after each change, tells what does not work, and removes it with Ctrl-C',
  async () => {
    const folder = join(world.directory, 'service');
    const id = `mine-${randomBytes(3).toString('hex')}`;
    const say = (text: string, end = 'while :; do sleep 1; done') =>
      writeFile(join(folder, 'src', 'app', 'run'), `#!/bin/sh\necho it says ${text}\n${end}\n`, { mode: 0o755 });
    await mkdir(join(folder, 'src', 'app'), { recursive: true });
    await say('one');
    await writeFile(
      join(folder, 'config.yaml'),
      `schemaVersion: 2
items:
  - identity: {codename: ${id}}
    version: 1.0.0
    images: [{sourceFolder: src, archInfo: {architecture: amd64}}]
    configuration: {cmd: /app/run}
`,
    );
    const dev = world.start('dev', folder);
    try {
      await dev.until(/it says one/);
      await say('two');
      await dev.until(/it says two/);
      await writeFile(join(folder, 'config.yaml.new'), 'not: [yaml');
      await rename(join(folder, 'config.yaml'), join(folder, 'config.yaml.good'));
      await rename(join(folder, 'config.yaml.new'), join(folder, 'config.yaml'));
      await dev.until(/aosctl: .*config\.yaml/);
      await rename(join(folder, 'config.yaml.good'), join(folder, 'config.yaml'));
      await say('three');
      await dev.until(/it says three/);
      expect(await world.running(`${id}-dev`)).toHaveLength(1);
      await say('farewell', 'exit 3');
      await dev.until(/it says farewell[\s\S]*aosctl: instance .* failed: .*exit code 3/);
      // Also of one that was active for a while.
      await say('goodbye', 'sleep 2; exit 4');
      await dev.until(/it says goodbye[\s\S]*aosctl: instance .* failed: .*exit code 4/);
    } finally {
      dev.process.kill('SIGINT');
    }
    expect(await dev.ended).toBe(0);
    expect(await world.running(`${id}-dev`)).toEqual([]);
    expect(dev.said()).toMatch(/is removed/);
  },
  STORY_MS,
);

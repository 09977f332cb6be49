/**
 * Every command without what it asks: no daemon, no permission, no cloud, credentials that are of no use. Each time an exit code
 * that scripts can use, and words that say what to do next.
 */
import { execFileSync } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlServer } from '../daemon/index.ts';
import { BadInputStage, type Said } from './bad-input-for-tests.ts';
import { asking, DAEMONS, line, rows } from './every-command-for-tests.ts';
import { EXIT } from './exit-codes.ts';

let stage: BadInputStage;
beforeAll(async () => {
  stage = await BadInputStage.open();
}, 60_000);
afterAll(() => stage.close());

describe('no daemon', () => {
  test.each(asking(...DAEMONS).map(([name]) => name))('%s: exit code 3, and how to reach one', async (name) => {
    const said = await stage.run(line(name, stage.socket()));
    expect(said.code).toBe(EXIT.unreachable);
    expect(said.stderr).toMatch(/no daemon listens on .*\.sock; is it running\? \(another socket: --socket/);
    expect(said.stdout).toBe('');
    const json = await stage.run(line(name, ['--json', ...stage.socket()]));
    expect(JSON.parse(json.stdout)).toEqual({
      error: { code: 'notFound', message: expect.stringMatching(/no daemon listens/) },
    });
    expect(json.code).toBe(EXIT.unreachable);
  });

  test('doctor names each, with its cure', async () => {
    const said = await stage.run(['--json', ...stage.socket(), 'doctor', '--config-dir', stage.at('EMPTY')]);
    expect(said.code).toBe(EXIT.failed);
    const findings = JSON.parse(said.stdout) as { check: string; cure?: string }[];
    for (const name of ['aos-iam', 'aos-cm', 'aos-sm']) {
      expect(findings).toContainEqual(
        expect.objectContaining({ check: `daemon ${name}`, cure: expect.stringMatching(/journalctl/) }),
      );
    }
  });

  test('support-bundle gathers what there is, and says what is missing', async () => {
    const said = await stage.run([...stage.socket(), ...line('support-bundle', [])]);
    expect(said).toMatchObject({
      code: EXIT.done,
      stdout: `${stage.at('ARCHIVE')}\n`,
      stderr: expect.stringMatching(/not to be had: .*cm/),
    });
  });
});

// Only root can become somebody without permission; ./dev test runs as root.
describe.skipIf(process.getuid?.() !== 0)('no permission', () => {
  test.each(asking(...DAEMONS).map(([name]) => name))('%s: who may ask', async (name) => {
    const sockets = join(stage.directory, `closed-${name.replace(' ', '-')}`);
    const servers = await Promise.all(DAEMONS.map((daemon) => ControlServer.open(join(sockets, `${daemon}.sock`), {})));
    await chmod(stage.directory, 0o755);
    // The rights of nobody, as far as files and sockets are concerned.
    const groups = process.getgroups!();
    process.setgroups!([65_534]);
    process.setegid!(65_534);
    process.seteuid!(65_534);
    let said: Said;
    try {
      said = await stage.run(line(name, ['--socket', join(sockets, 'cm.sock')]));
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
      process.setgroups!(groups);
    }
    for (const server of servers) await server.stop();
    expect(said.stderr).toMatch(/\.sock is not open to this user; ask as root \(sudo\) or as a user of its group/);
    expect(said.code).toBe(EXIT.failed);
  });
});

describe('no cloud', () => {
  const names = [...asking('cloud').map(([name]) => name)];
  /** Those that ask this machine by default. */
  const either = rows.filter(([, { orCloud }]) => orCloud).map(([name]) => name);

  test.each([...names, ...either])('%s: none is named', async (name) => {
    const said = await stage.run(line(name, ['--unit', 'car']));
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/no cloud is named: give --cloud https/),
    });
  });

  test.each([...names, ...either])('%s: it is not reached', async (name) => {
    // Nobody listens on this port: it was free just now.
    const port = await freePort();
    const said = await stage.run(
      line(name, [...stage.atCloud(undefined, undefined, `https://127.0.0.1:${port}`), '--unit', 'car']),
    );
    expect(said.stderr).toMatch(/cannot reach the cloud at https:\/\/127\.0\.0\.1:\d+: /);
    expect(said.code).toBe(EXIT.unreachable);
    // Programs are told the same in the way that they read.
    const json = await stage.run(
      line(name, ['--json', ...stage.atCloud(undefined, undefined, `https://127.0.0.1:${port}`), '--unit', 'car']),
    );
    expect(JSON.parse(json.stdout)).toMatchObject({
      error: { message: expect.stringMatching(/cannot reach the cloud/) },
    });
    expect(json.code).toBe(EXIT.unreachable);
  });

  test.each(names)('%s: a certificate that has expired', async (name) => {
    const said = await stage.run(
      line(name, [...stage.atCloud(stage.at('expired.pem'), stage.at('expired-key.pem')), '--unit', 'car']),
    );
    expect(said.stderr.replaceAll('\n', ' ')).toMatch(
      /expired\.pem has expired on 2021-.*ask whoever runs the cloud for a new one/,
    );
    expect(said.code).toBe(EXIT.failed);
  });

  test('a PKCS#12 file is as good as certificate and key, and as bad when it has expired', async () => {
    const packed = (name: string, [cert, key]: readonly [string, string]) => {
      const path = stage.at(name);
      execFileSync('openssl', [
        ...['pkcs12', '-export', '-passout', 'pass:', '-in', cert, '-inkey', key, '-out', path],
      ]);
      const [, url, , ca] = stage.atCloud();
      return ['--cloud', url!, '--ca', ca!, '--p12', path];
    };
    const operator = stage.atCloud();
    const good = await stage.run([...packed('good.p12', [operator[5]!, operator[7]!]), '--json', 'units']);
    expect(good).toEqual({ code: EXIT.done, stdout: '[]\n', stderr: '' });
    const expired = packed('expired.p12', [stage.at('expired.pem'), stage.at('expired-key.pem')]);
    const said = await stage.run([...expired, 'units']);
    expect(said.stderr).toMatch(
      /expired\.p12 has expired on 2021-01-01T00:00:00.000Z: ask whoever runs the cloud for a new one: "aosctl user/,
    );
    expect(said.code).toBe(EXIT.failed);
  });

  test('those that need no cloud need no profile', async () => {
    for (const [name] of asking('nothing')) expect((await stage.run(line(name, []))).code).toBe(EXIT.done);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

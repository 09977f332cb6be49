import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { FakePkcs11 } from '../../platform/token/index.ts';
import { OwnedToken } from './owned-token.ts';
import { obtainPin, readPins, teeUserPin } from './pin.ts';

let directory: string;
let library: FakePkcs11;
const pinPath = () => join(directory, 'pin', '.usrpin');

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-token-'));
  library = new FakePkcs11();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const token = (params: object = {}, teeLoginType?: string) =>
  new OwnedToken({
    library,
    params: { library: '/fake', userPinPath: pinPath(), modulePathInUrl: false, uid: 1000, gid: 5, ...params },
    logger: silentLogger,
    teeLoginType,
  });

test.each([
  ['label', { tokenLabel: 'mine' }, 'mine'],
  ['slot id', { slotID: 0 }, 'aos'],
  ['index', { slotIndex: 0 }, 'aos'],
])('[IAM-15] a token is found by %s, owned, and found again', async (_, params, label) => {
  const first = token(params);
  await first.start();
  expect(first.isOwned).toBe(false);
  expect(first.pinSource).toBeUndefined();
  await first.own('password');
  expect(first.use((session) => session.token.label)).toBe(label);
  expect(first.pinSource).toBe(pinPath());
  const again = token(params);
  await again.start();
  expect(again.isOwned).toBe(true);
  expect(again.use((session) => session.list())).toEqual([]);
});

test('an owned token needs its PIN file', async () => {
  await token({ tokenLabel: 'mine' }).own('password');
  await rm(pinPath());
  await expect(token({ tokenLabel: 'mine' }).start()).rejects.toMatchObject({
    code: 'notFound',
    message: expect.stringMatching(/PIN file .* is missing/),
  });
});

test('a token whose taking over was interrupted counts as blank', async () => {
  library.initToken(library.findBlank().slotId, 'password', 'mine');
  const half = token({ tokenLabel: 'mine' });
  await half.start();
  expect(half.isOwned).toBe(false);
  expect(() => half.use((session) => session.list())).toThrow(expect.objectContaining({ code: 'wrongState' }));
  await half.own('password');
  expect(half.isOwned).toBe(true);
});

test('[IAM-15] for a TEE the PINs come from the owner, and nothing is written', async () => {
  expect(teeUserPin('public', { uid: 1000, gid: 5 })).toBe('public');
  expect(teeUserPin('user', { uid: 1000, gid: 5 })).toBe('user:205eb75a-5e4b-5739-bc88-86260cabfb81');
  expect(teeUserPin('group', { uid: 1000, gid: 5 })).toBe('group:edd97720-8fb9-54fb-9ccc-2758129bcdbf');
  expect(() => teeUserPin('other', { uid: 0, gid: 0 })).toThrow(/expected public, user or group/);
  await expect(token({}, 'nobody').own('password')).rejects.toMatchObject({ code: 'invalidArgument' });
  await token({}, 'user').own('password');
  await expect(readFile(pinPath())).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a PIN is made once, from chance, and read as it is written', async () => {
  const pin = await obtainPin(pinPath());
  expect(pin).toMatch(/^[0-9a-f]{30}$/);
  expect(await obtainPin(pinPath())).toBe(pin);
  expect(await obtainPin(join(directory, 'other'))).not.toBe(pin);
  await writeFile(pinPath(), ' with space \n');
  expect(await readPins(pinPath())).toEqual([' with space \n', ' with space ']);
});

test('a PIN file with which TLS could not work is refused before a token is owned with it', async () => {
  await obtainPin(pinPath());
  await writeFile(pinPath(), 'x'.repeat(33));
  const message = await obtainPin(pinPath()).then(String, (error: Error) => error.message);
  expect(message).toMatch(/has 33 bytes, TLS takes at most 32; write a shorter one/);
  expect(message).not.toMatch(/xxx/);
});

test.each(['', '\n', 'x'.repeat(51)])('a PIN file of %j is refused without its content', async (content) => {
  await writeFile(join(directory, 'bad'), content);
  const message = await readPins(join(directory, 'bad')).then(String, (error: Error) => error.message);
  expect(message).toMatch(/expected 1 to 50/);
  expect(message).not.toMatch(/xxx/);
});

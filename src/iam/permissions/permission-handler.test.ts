import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type InstanceIdent, silentLogger } from '../../core/index.ts';
import { MAX_PERMISSION_INSTANCES } from '../limits.ts';
import { PermissionHandler } from './permission-handler.ts';

let directory: string;
let handler: PermissionHandler;
const open = () => PermissionHandler.open(join(directory, 'run'), silentLogger);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-permissions-'));
  handler = await open();
});
afterEach(async () => {
  await handler.stop();
  await rm(directory, { recursive: true, force: true });
});

const ident = (instance = 0, changes: Partial<InstanceIdent> = {}): InstanceIdent => ({
  itemId: 'item',
  subjectId: 'subject',
  instance,
  type: 'service',
  preinstalled: false,
  ...changes,
});

test('[IAM-32] a random secret per instance; the same instance keeps its own', async () => {
  const first = await handler.register(ident(0), { vis: { speed: 'r' } });
  const second = await handler.register(ident(1), {});
  expect(first).toMatch(/^[0-9a-f-]{36}$/);
  expect(second).not.toBe(first);
  expect(await handler.register(ident(0), { vis: { speed: 'rw' } })).toBe(first);
  expect(handler.get(first, 'vis').permissions).toEqual({ speed: 'rw' });
  expect(await handler.register(ident(0, { type: 'component' }), {})).not.toBe(first);
});

test('[IAM-33] the secret tells who has it and what it may do; anything else is not found', async () => {
  const secret = await handler.register(ident(3), { vis: { speed: 'r' } });
  expect(handler.get(secret, 'vis')).toEqual({ ident: ident(3), permissions: { speed: 'r' } });
  expect(() => handler.get('wrong', 'vis')).toThrow(expect.objectContaining({ code: 'notFound' }));
  expect(() => handler.get(secret, 'other')).toThrow(expect.objectContaining({ code: 'notFound' }));
  expect(() => handler.get(secret, 'constructor')).toThrow(expect.objectContaining({ code: 'notFound' }));
  await handler.unregister(ident(3));
  expect(() => handler.get(secret, 'vis')).toThrow(expect.objectContaining({ code: 'notFound' }));
  await expect(handler.unregister(ident(3))).rejects.toMatchObject({ code: 'notFound' });
});

test('[IAM-34] secrets outlive a restart of the program, but not of the node', async () => {
  const secret = await handler.register(ident(), { vis: { speed: 'r' } });
  handler = await open();
  expect(handler.get(secret, 'vis').ident).toEqual(ident());
  await rm(join(directory, 'run'), { recursive: true });
  handler = await open();
  expect(() => handler.get(secret, 'vis')).toThrow(expect.objectContaining({ code: 'notFound' }));
});

test('only its owner can read the file; one that is damaged voids the secrets and hinders nothing', async () => {
  await handler.register(ident(), {});
  const path = join(directory, 'run', 'permissions.json');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await writeFile(path, (await readFile(path, 'utf8')).slice(0, 20));
  handler = await open();
  expect(handler.size).toBe(0);
});

test('secrets that a killed process was writing do not stay', async () => {
  await handler.register(ident(), {});
  await writeFile(join(directory, 'run', '.tmp-permissions.json-0123456789ab'), '[{"secret": "x"}]');
  handler = await open();
  expect(await readdir(join(directory, 'run'))).toEqual(['permissions.json']);
});

test('[IAM-32] the instance above the limit is refused, one that has a secret keeps its own', async () => {
  const stored = Array.from({ length: MAX_PERMISSION_INSTANCES }, (_, index) => ({
    ...{ ident: ident(index), secret: `secret-${index}`, permissions: {} },
  }));
  await writeFile(join(directory, 'run', 'permissions.json'), JSON.stringify(stored));
  handler = await open();
  await expect(handler.register(ident(stored.length), {})).rejects.toMatchObject({ code: 'noMemory' });
  expect(await handler.register(ident(7), {})).toBe('secret-7');
  await handler.unregister(ident(7));
  expect(await handler.register(ident(stored.length), {})).toMatch(/^[0-9a-f-]{36}$/);
});

test('too many servers or functions are refused', async () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${index}`, 'r']));
  await expect(handler.register(ident(), { vis: many(65) })).rejects.toMatchObject({ code: 'noMemory' });
  const servers = Object.fromEntries(Object.keys(many(65)).map((name) => [name, {}]));
  await expect(handler.register(ident(), servers)).rejects.toMatchObject({ code: 'noMemory' });
  await handler.register(ident(), { vis: many(64) });
});

import { EventEmitter, once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { FileIdentifier } from './file-identifier.ts';

let directory: string;
let identifier: FileIdentifier;
const at = (name: string) => join(directory, name);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-identity-'));
  await writeFile(at('system-id'), '\n unit-1\t\n');
  await writeFile(at('model'), ' aos-core ; 1.0.0\n');
  await writeFile(at('subjects'), 'one\r\n\ntwo\n');
  identifier = new FileIdentifier(
    { systemIDPath: at('system-id'), unitModelPath: at('model'), subjectsPath: at('subjects') },
    silentLogger,
  );
});
afterEach(async () => {
  await identifier.stop();
  await rm(directory, { recursive: true, force: true });
});

test('[IAM-04] [IAM-05] id, model and subjects without the white space that editors leave', async () => {
  await identifier.start();
  expect(await identifier.systemInfo()).toEqual({ systemId: 'unit-1', unitModel: 'aos-core', version: '1.0.0' });
  expect(await identifier.subjects()).toEqual(['one', 'two']);
});

test.each([
  ['system-id', ''],
  ['system-id', 'x'.repeat(65)],
  ['model', 'aos-core'],
  ['model', 'a;b;c'],
  ['model', 'aos-core;'],
])('[IAM-05] does not start when %s is %j', async (name, content) => {
  await writeFile(at(name), content);
  await expect(identifier.start()).rejects.toMatchObject({ code: 'invalidArgument' });
});

test('[IAM-05] a missing system id is fatal, missing or bad subjects are none', async () => {
  await rm(at('subjects'));
  await identifier.start();
  expect(await identifier.subjects()).toEqual([]);
  await identifier.stop();
  await writeFile(at('subjects'), `good\n${'x'.repeat(65)}\n`);
  await identifier.start();
  expect(await identifier.subjects()).toEqual([]);
  await rm(at('system-id'));
  await expect(identifier.start()).rejects.toMatchObject({ code: 'notFound' });
});

test('[IAM-07] a changed list is told, in place and by replacement; an equal one is not', async () => {
  await identifier.start();
  const events = new EventEmitter();
  const heard: (readonly string[])[] = [];
  identifier.onSubjectsChange((subjects) => {
    heard.push(subjects);
    events.emit('change');
  });
  let change = once(events, 'change');
  await writeFile(at('subjects'), 'three\n');
  await change;
  change = once(events, 'change');
  await writeFile(at('new'), 'three\nfour\n');
  await rename(at('new'), at('subjects'));
  await change;
  await writeFile(at('subjects'), 'three\r\nfour');
  change = once(events, 'change');
  await writeFile(at('subjects'), 'five');
  await change;
  expect(heard).toEqual([['three'], ['three', 'four'], ['five']]);
  expect(await identifier.subjects()).toEqual(['five']);
});

test('a changed system id holds from the next start', async () => {
  await identifier.start();
  await writeFile(at('system-id'), 'unit-2');
  expect((await identifier.systemInfo()).systemId).toBe('unit-1');
});

/** An S3-compatible store that fails, and one that refuses: what is repeated, and what is said. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../core/index.ts';
import { S3Double, type Trouble } from './s3-double-for-tests.ts';
import { S3Files, type S3FilesOptions } from './s3-files.ts';

const CREDENTIALS = { accessKeyId: 'AKTEST', secretAccessKey: 'never to be seen' };
const BUSY: Trouble = { do: 'answer', status: 503, code: 'SlowDown', message: 'Please reduce your rate' };
const NAME = 'some-blob';
const CONTENT = randomBytes(100_000);

let directory: string;
let store: S3Double;
let files: S3Files;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-s3-'));
  store = await S3Double.start({ ...CREDENTIALS, bucket: 'blobs', region: 'eu-north-1' });
  await writeFile(join(directory, 'credentials.json'), JSON.stringify(CREDENTIALS));
  await writeFile(join(directory, 'content'), CONTENT);
  files = connect();
});

afterEach(async () => {
  files.stop();
  await store.stop();
  await rm(directory, { recursive: true, force: true });
});

function connect(changes: Partial<S3FilesOptions> = {}): S3Files {
  return new S3Files({
    ...{ endpoint: store.endpoint, bucket: 'blobs', region: 'eu-north-1', prefix: 'a/' },
    credentialsFile: join(directory, 'credentials.json'),
    ...{ pauseMs: 1, logger: silentLogger, now: () => new Date(), ...changes },
  });
}

const put = (to = files) => to.put(NAME, join(directory, 'content'));

/** The words of a refusal. */
async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  const { message } = error as Error;
  expect(message).not.toContain(CREDENTIALS.secretAccessKey);
  return message;
}

describe('[P-06] an S3-compatible store', () => {
  test('objects have the prefix, and an upload that meets a busy store is repeated whole', async () => {
    store.trouble(BUSY, BUSY);
    await put();
    expect(store.requests).toEqual(Array(3).fill(`PUT /blobs/a/${NAME}`));
    expect(store.objects.get(`a/${NAME}`)?.equals(CONTENT)).toBe(true);
  });

  test('a store that stays busy is given up, with its words', async () => {
    store.trouble(BUSY, BUSY, BUSY, BUSY);
    expect(await refusal(put())).toMatch(
      /PUT s3:\/\/blobs\/a\/some-blob at http.*503 \(SlowDown: Please reduce your rate\)/,
    );
    expect(store.requests).toHaveLength(4);
  });

  test('a store that is silent, and one that is not there, are named', async () => {
    const impatient = connect({ silenceMs: 50 });
    store.trouble(...Array<Trouble>(4).fill({ do: 'silence' }));
    expect(await refusal(impatient.read(NAME, 0, 9))).toMatch(/GET s3:.*the store is silent for 50 ms/);
    impatient.stop();
    await store.stop();
    expect(await refusal(put())).toMatch(/PUT s3:.*ECONNREFUSED/);
  });

  test.each([
    [
      'a secret that is wrong',
      { ...CREDENTIALS, secretAccessKey: 'another' },
      /SignatureDoesNotMatch.*the secret key in s3\.credentialsFile or s3\.region is wrong/,
    ],
    [
      'a key that is unknown',
      { ...CREDENTIALS, accessKeyId: 'AKOTHER' },
      /InvalidAccessKeyId.*does not know the access key/,
    ],
    [
      'a file without credentials',
      { secretAccessKey: CREDENTIALS.secretAccessKey },
      /credentials\.json cannot be read \(it is not what is expected\); expected JSON with "accessKeyId"/,
    ],
  ])('%s: refused at once, in words, and without repeating', async (_, credentials, words) => {
    await writeFile(join(directory, 'credentials.json'), JSON.stringify(credentials));
    expect(await refusal(put())).toMatch(words);
    expect(store.requests.length).toBeLessThanOrEqual(1);
    // New credentials need no new start.
    await writeFile(join(directory, 'credentials.json'), JSON.stringify(CREDENTIALS));
    await put();
  });

  test('a bucket that is not there, a clock that is wrong: what to mend is said', async () => {
    const elsewhere = connect({ bucket: 'nowhere' });
    expect(await refusal(put(elsewhere))).toMatch(/404 \(NoSuchBucket.*make it, or mend s3\.bucket/);
    const late = connect({ now: () => new Date(Date.now() - 3_600_000) });
    expect(await refusal(late.read(NAME, 0, 9))).toMatch(/RequestTimeTooSkewed.*set the clock/);
    elsewhere.stop();
    late.stop();
  });

  test('a download that is cut off ends with an error, never early', async () => {
    await put();
    store.trouble({ do: 'cut' });
    const stream = await files.read(NAME, 0, CONTENT.length - 1);
    await expect(stream.toArray()).rejects.toThrow();
  });

  test('a store that gives another part than was asked for is not believed', async () => {
    await put();
    store.trouble({ do: 'ignore ranges' });
    expect(await refusal(files.read(NAME, 10, 19))).toMatch(/expected the bytes 10 to 19, the store answers 200/);
    // The object is shorter than the database says.
    expect(await refusal(files.read(NAME, 0, CONTENT.length))).toMatch(/is the object whole/);
  });

  test('what is on its way ends when the cloud stops', async () => {
    store.trouble({ do: 'silence' });
    const reading = files.read(NAME, 0, 9);
    await expect.poll(() => store.requests).toHaveLength(1);
    files.stop();
    expect(await refusal(reading)).toMatch(/the cloud stops/);
  });

  test('blobs that cannot move out of the directory stay there', async () => {
    store.trouble({ do: 'answer', status: 403, code: 'AccessDenied', message: 'no' });
    await writeFile(join(directory, NAME), CONTENT);
    expect(await refusal(files.adopt(directory, [NAME]))).toMatch(/cannot move to the S3 store.*policy must allow/);
    await files.adopt(directory, [NAME]);
    expect(store.objects.get(`a/${NAME}`)?.equals(CONTENT)).toBe(true);
  });
});

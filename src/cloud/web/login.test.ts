/** How a browser gets in, and how it does not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchHttps, type HttpAnswer } from '../cloud-access-for-tests.ts';
import { TestCloud } from '../cloud-for-tests.ts';

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud.close());

const OWN = { 'sec-fetch-site': 'same-origin' };
const FOREIGN = { 'sec-fetch-site': 'cross-site' };

const ask = (path: string, headers: Record<string, string>, form?: string) =>
  fetchHttps(
    new URL(path, cloud.endpoints.restUrl).href,
    { method: form === undefined ? 'GET' : 'POST', ca: cloud.root, agent: false, headers },
    form,
  );

async function newAddress(): Promise<{ readonly url: string; readonly form: string }> {
  const { url } = await cloud.must<{ url: string }>('POST', '/api/login-tokens');
  return { url, form: new URL(url).searchParams.toString() };
}

const sessionOf = ({ headers }: HttpAnswer) => headers['set-cookie']?.[0]?.split(';')[0];

test('an address lets nobody in by itself, and says who is meant; the button of its page does, once', async () => {
  const { url, form } = await newAddress();
  for (const headers of [FOREIGN, OWN, {}]) {
    const page = await ask(url, headers);
    expect([page.status, sessionOf(page)]).toEqual([200, undefined]);
    expect(page.body.toString()).toMatch(/Log in as operator/);
  }
  const entry = await ask('/login', OWN, form);
  expect([entry.status, entry.headers.location]).toEqual([303, '/']);
  const cookie = sessionOf(entry)!;
  expect(JSON.parse((await ask('/api/me', { cookie })).body.toString())).toMatchObject({ name: 'operator' });
  expect((await ask('/login', OWN, form)).status).toBe(403);
  const late = await ask(url, OWN);
  expect([late.status, late.body.toString()]).toEqual([403, expect.stringMatching(/was used already/)]);
});

test('a page of another site cannot press the button', async () => {
  const { form } = await newAddress();
  const entry = await ask('/login', FOREIGN, form);
  expect([entry.status, sessionOf(entry)]).toEqual([403, undefined]);
});

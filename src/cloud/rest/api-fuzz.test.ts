/** The REST interface is asked whatever its own description allows, and what it does not. */
import { Agent } from 'node:https';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACCESS } from '../access/access-table.ts';
import { ROLES } from '../access/roles.ts';
import { fetchHttps, type HttpAnswer } from '../cloud-access-for-tests.ts';
import { TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';

interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
}
interface Described {
  readonly operationId: string;
  readonly 'x-roles': readonly string[];
  readonly parameters: readonly { readonly name: string; readonly in: 'path' | 'query'; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses: { readonly '2XX': { readonly content?: Readonly<Record<string, unknown>> } };
}
interface Description {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}
interface Asked {
  readonly path: string;
  readonly body: string | undefined;
}

let cloud: TestCloud;
let unit: ScriptedUnit;
/** Shows no certificate, and that of a unit. */
let strangers: readonly [Agent, Agent];
let description: Description;

/** Requests for each call. */
const RUNS = 30;
const STREAM = 'text/event-stream';

beforeAll(async () => {
  cloud = await TestCloud.start({ rateLimit: { perSecond: 100_000, burst: 100_000 } });
  unit = await ScriptedUnit.register(cloud, 'car-1');
  await cloud.publish('story', '1.0.0');
  await unit.comeOnline();
  strangers = [
    new Agent({ ca: cloud.root, keepAlive: true }),
    new Agent({ ca: cloud.root, keepAlive: true, ...unit.identity }),
  ];
  description = await cloud.must('GET', '/api/openapi.json');
});

afterAll(async () => {
  for (const agent of strangers) agent.destroy();
  unit.disconnect();
  await cloud.close();
});

const HOSTILE = [
  ...['', ' ', '..', '%00', '\u0000', '\u202egnp.exe', '<img src=x onerror=alert(1)>', "' OR 1=1 --", '__proto__'],
  ...['constructor', 'toString', '😀', 'x'.repeat(5000), '-1', '1e309', 'NaN', '../../etc/passwd', '\ud800'],
];
/** What is there, so that requests come through to what they are about. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  ...{ unit: ['car-1'], item: ['story'], id: ['story'], version: ['1.0.0', '1.0.1'], node: ['main'] },
  ...{ set: ['cars'], subject: ['drivers'], user: ['operator', 'somebody'], target: ['model:demo', 'set:cars'] },
  ...{ digest: [`sha256:${'0'.repeat(64)}`], instance: ['0'] },
};
const Text = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('car-1', 'story', '1.0.0', 'drivers', 'cars', 'main', 'north') },
  { weight: 1, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
);
const Junk = fc.jsonValue({ maxDepth: 3 });

function arbitraryOf(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return fc.oneof(...options.map(arbitraryOf));
  switch (schema.type) {
    case 'object': {
      const properties = Object.entries(schema.properties ?? {}).map(([name, member]) => [name, arbitraryOf(member)]);
      return fc.record(Object.fromEntries(properties) as Record<string, fc.Arbitrary<unknown>>, {
        requiredKeys: [...(schema.required ?? [])],
      });
    }
    case 'array':
      return fc.array(arbitraryOf(schema.items ?? {}), { maxLength: 3 });
    case 'integer':
    case 'number': {
      const { minimum: min = -1000, maximum: max = 100_000 } = schema;
      return fc.integer({ min: Math.max(min, -1e9), max: Math.min(max, 1e9) });
    }
    case 'boolean':
      return fc.boolean();
    case 'string':
      return Text;
    default:
      return Junk;
  }
}

/** Mostly what fits, sometimes anything. */
const bodyOf = (schema: Schema): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 5, arbitrary: arbitraryOf(schema).map((value) => JSON.stringify(value)) },
    { weight: 2, arbitrary: Junk.map((value) => JSON.stringify(value)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('{', '[]', 'null', '"x"', '{"a":'.repeat(2000), '{"__proto__":{"role":"oem"}}'),
    },
    { weight: 1, arbitrary: fc.string() },
  );

const encode = (text: string) => {
  // What cannot be encoded is sent as it is.
  return text.isWellFormed() ? encodeURIComponent(text) : '%ed%a0%80';
};

function requestOf(path: string, { parameters, requestBody }: Described): fc.Arbitrary<Asked> {
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  const inQuery = parameters.filter((parameter) => parameter.in === 'query');
  const body = requestBody && Object.values(requestBody.content)[0]!.schema;
  const values = fc.record(
    Object.fromEntries(
      inPath.map(({ name }) => [
        name,
        fc.oneof(
          { weight: 3, arbitrary: fc.constantFrom(...(KNOWN[name] ?? ['none'])) },
          { weight: 1, arbitrary: Text },
        ),
      ]),
    ),
  );
  const query = fc.record(
    Object.fromEntries(
      inQuery.map(({ name, schema }) => [name, fc.oneof(arbitraryOf(schema).map(String), fc.constantFrom(...HOSTILE))]),
    ),
    { requiredKeys: [] },
  );
  const content = body ? fc.option(bodyOf(body), { nil: undefined }) : fc.constant(undefined);
  return fc.tuple(values, query, content).map(([named, asked, text]) => ({
    path:
      path.replace(/\{(\w+)\}/g, (_, name: string) => encode(named[name] ?? '') || 'x') +
      (inQuery.length > 0
        ? `?${Object.entries(asked)
            .map(([name, value]) => `${name}=${encode(value ?? '')}`)
            .join('&')}`
        : ''),
    body: text,
  }));
}

const takesAway = ({ method, path }: { readonly method: string; readonly path: string }) =>
  method === 'DELETE' || /\/(?:reset|disconnect)$/.test(path);

const isProblem = ({ headers, body }: HttpAnswer): boolean =>
  headers['content-type'] === 'application/problem+json' && typeof JSON.parse(body.toString()).detail === 'string';

describe('the description of the REST interface', () => {
  test('it names exactly the calls of the table of access, with their roles', () => {
    expect(description.openapi).toBe('3.1.0');
    const described = Object.entries(description.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, operation]) =>
          `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')} ${operation['x-roles'].join()}`,
      ),
    );
    expect(described.sort()).toEqual(ACCESS.map((row) => `${row.method} ${row.pattern} ${row.roles.join()}`).sort());
    expect(ROLES.every((role) => described.some((line) => line.includes(role)))).toBe(true);
  });

  test('it says what the cloud checks: bounds, choices, what must be there', () => {
    const operation = description.paths['/api/units/{unit}/deployments/{item}']!.put!;
    expect(operation.requestBody!.content['application/json']!.schema!.properties).toMatchObject({
      numInstances: { type: 'integer', minimum: 0, maximum: 10_000 },
    });
    const users = description.paths['/api/users/{user}']!.put!.requestBody!.content['application/json']!.schema!;
    expect(users.properties!.role!.enum).toEqual(ROLES);
    expect(users.required).toEqual(['role']);
  });

  test('whatever is asked for, nothing breaks, every refusal is a problem document, and nobody else is let in', async () => {
    const operations = Object.entries(description.paths)
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
      )
      // What takes away what others are about comes last.
      .sort((a, b) => Number(takesAway(a)) - Number(takesAway(b)));
    const done = new Set<string>();
    for (const { method, path, operation } of operations) {
      // A stream has no end; and what bytes as they are do to a unit is not what is asked here.
      if (operation.responses['2XX'].content?.[STREAM] !== undefined || path.endsWith('/frames')) continue;
      await fc.assert(
        fc.asyncProperty(requestOf(path, operation), async (asked) => {
          const answer = await cloud.ask(
            method,
            asked.path,
            asked.body === undefined ? undefined : Buffer.from(asked.body),
          );
          if (answer.status >= 500) throw new Error(`${answer.status}: ${answer.body}`);
          if (answer.status < 300) done.add(operation.operationId);
          if (answer.status >= 400 && method !== 'HEAD') expect(isProblem(answer)).toBe(true);
        }),
        { numRuns: RUNS, endOnFailure: true },
      );
      await fc.assert(
        fc.asyncProperty(requestOf(path, operation), async (asked) => {
          for (const [index, agent] of strangers.entries()) {
            const { status } = await fetchHttps(
              ...([cloud.endpoints.restUrl + asked.path, { method, agent }, asked.body] as const),
            );
            expect(status).toBe([401, 403][index]);
          }
        }),
        { numRuns: 3, endOnFailure: true },
      );
    }
    // It was not only refused: most calls have come through to what they do.
    expect(done.size).toBeGreaterThan(operations.length / 2);
    // The cloud is as well as before.
    expect(await cloud.must('GET', '/api/me')).toMatchObject({ name: 'operator', role: 'oem' });
  }, 120_000);
});

describe('long lists', () => {
  const get = async (path: string) => {
    const answer = await cloud.ask('GET', path);
    const next = /^<(.+)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1];
    return { value: JSON.parse(answer.body.toString()) as { systemId: string; id: number }[], next };
  };

  test('come in pages that leave nothing out, and can be narrowed', async () => {
    const names = ['page-a', 'page-b', 'page-c', 'page-d', 'page-e'];
    for (const name of names) await ScriptedUnit.register(cloud, name);
    await cloud.must('PUT', '/api/units/page-d/fleet', { fleet: 'south' });
    const seen: string[] = [];
    let path: string | undefined = '/api/units?q=page-&limit=2';
    while (path !== undefined) {
      const page: Awaited<ReturnType<typeof get>> = await get(path);
      expect(page.value.length).toBeLessThanOrEqual(2);
      seen.push(...page.value.map(({ systemId }) => systemId));
      path = page.next;
    }
    expect(seen).toEqual(names);
    expect((await get('/api/units?fleet=south')).value.map(({ systemId }) => systemId)).toEqual(['page-d']);
    expect((await get('/api/units?online=true&q=page-')).value).toEqual([]);
    expect((await get('/api/units?q=page-')).next).toBeUndefined();
  });

  test('the audit goes back page by page, for one person if one is named', async () => {
    const [last] = (await get('/api/audit?limit=1')).value;
    const [before] = (await get(`/api/audit?limit=1&before=${last!.id}`)).value;
    expect(before!.id).toBe(last!.id - 1);
    expect((await get('/api/audit?user=nobody')).value).toEqual([]);
  });
});

test('who asks too much is told when to come again, and others are served meanwhile', async () => {
  const small = await TestCloud.start({ rateLimit: { perSecond: 1, burst: 5 } });
  const agent = new Agent({ ca: small.root, keepAlive: true });
  try {
    const stranger = () => fetchHttps(`${small.endpoints.restUrl}/api/me`, { agent });
    const answers: HttpAnswer[] = [];
    for (let asked = 0; asked < 12; asked += 1) answers.push(await stranger());
    const refused = answers.find(({ status }) => status === 429)!;
    expect(isProblem(refused)).toBe(true);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(await small.must('GET', '/api/me')).toMatchObject({ role: 'oem' });
  } finally {
    agent.destroy();
    await small.close();
  }
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Headers as LightHeaders } from './light-headers.ts';

const name = fc.constantFrom('a', 'A', 'grpc-status', 'Grpc-Status', 'content-type', 'set-cookie', 'Set-Cookie', 'x');
const value = fc.string({ unit: fc.constantFrom('a', ' ', '\t', ',', '%', '0', ';'), maxLength: 5 });
const step = fc.oneof(
  fc.tuple(fc.constantFrom('append', 'set'), name, value),
  fc.tuple(fc.constant('delete'), name, fc.constant('')),
);

interface Both {
  append(name: string, value: string): void;
  set(name: string, value: string): void;
  delete(name: string): void;
}

function apply(headers: Both, [verb, key, text]: readonly [string, string, string]): void {
  if (verb === 'append') headers.append(key, text);
  else if (verb === 'set') headers.set(key, text);
  else headers.delete(key);
}

describe('the headers of bundled programs', () => {
  test('[B-02] hold and tell what those of Node.js do, whatever is done to them', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const light = new LightHeaders();
        const real = new Headers();
        for (const entry of steps) {
          apply(light, entry);
          apply(real, entry);
        }
        expect([...light]).toEqual([...real]);
        expect([...light.keys()]).toEqual([...real.keys()]);
        expect([...light.values()]).toEqual([...real.values()]);
        expect(light.getSetCookie()).toEqual(real.getSetCookie());
        for (const key of ['a', 'GRPC-STATUS', 'Set-Cookie', 'none']) {
          expect([light.get(key), light.has(key)]).toEqual([real.get(key), real.has(key)]);
        }
        expect([...new LightHeaders(light)]).toEqual([...light]);
      }),
    );
  });

  test('are made of pairs, of a record, of others, or of nothing', () => {
    const pairs: [string, string][] = [
      ['B', '1'],
      ['a', ' 2 '],
      ['b', '3'],
    ];
    expect([...new LightHeaders(pairs)]).toEqual([...new Headers(pairs)]);
    expect([...new LightHeaders({ B: '1', a: '2' })]).toEqual([...new Headers({ B: '1', a: '2' })]);
    expect([...new LightHeaders(new Headers(pairs))]).toEqual([...new Headers(pairs)]);
    expect([[...new LightHeaders()], [...new LightHeaders(null)]]).toEqual([[], []]);
    const seen: string[] = [];
    new LightHeaders(pairs).forEach((text, key) => {
      seen.push(`${key}=${text}`);
    });
    expect(seen).toEqual(['a=2', 'b=1, 3']);
  });

  test('a copy lives its own life', () => {
    const first = new LightHeaders({ a: '1' });
    new LightHeaders(first).append('a', '2');
    expect(first.get('a')).toBe('1');
  });
});

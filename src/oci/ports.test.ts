import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatPorts, parseAllowedConnection, parseExposedPort, portsInclude } from './index.ts';

test('a port may have a protocol, and a range may be written with a dash or a colon', () => {
  expect(parseExposedPort('8080')).toEqual({ first: 8080, last: 8080, protocol: 'tcp' });
  expect(parseExposedPort('5353/UDP')).toEqual({ first: 5353, last: 5353, protocol: 'udp' });
  expect(parseExposedPort('1-9/tcp')).toEqual({ first: 1, last: 9, protocol: 'tcp' });
  expect(parseExposedPort('1:9')).toEqual({ first: 1, last: 9, protocol: 'tcp' });
  expect(parseAllowedConnection('item/80/tcp')).toEqual({ itemId: 'item', first: 80, last: 80, protocol: 'tcp' });
});

test.each(['', 'x', '0', '65536', '9-1', '80/tcp/x', '80/6', '-1'])('"%s" is refused as a port', (text) => {
  expect(() => parseExposedPort(text)).toThrow(`"${text}" is not a port`);
});

test.each(['80', '/80', 'a/b', 'a/80/tcp/x'])('"%s" is refused as a connection', (text) => {
  expect(() => parseAllowedConnection(text)).toThrow(`"${text}" is not a`);
});

test('a request is allowed exactly when every port of it is exposed', () => {
  const range = fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 5 }), fc.constantFrom('tcp', 'udp'))
    .map(([first, length, protocol]) => ({ first, last: first + length, protocol }));
  fc.assert(
    fc.property(range, range, (exposed, requested) => {
      const ports = Array.from({ length: requested.last - requested.first + 1 }, (_, i) => requested.first + i);
      const all = ports.every((port) => port >= exposed.first && port <= exposed.last);
      expect(portsInclude(exposed, requested)).toBe(all && exposed.protocol === requested.protocol);
    }),
  );
});

test('a written range is read back', () => {
  expect(formatPorts(parseExposedPort('8000:8010'))).toBe('8000-8010');
  expect(formatPorts(parseExposedPort('80'))).toBe('80');
});

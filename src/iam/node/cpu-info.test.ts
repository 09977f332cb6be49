import { expect, test } from 'vitest';
import { parseCpuInfo } from './cpu-info.ts';

const AMD64 = { architecture: 'amd64' };

const twoSockets = ['0', '1']
  .flatMap((socket) =>
    [0, 1].map(
      (core) =>
        `processor\t: ${core}\nmodel name\t: Fast CPU\ncpu family\t: 6\nphysical id\t: ${socket}\nsiblings\t: 4\ncpu cores\t: 2\n`,
    ),
  )
  .join('\n');

test('[IAM-19] one CPU per socket, with its cores and threads, and never the family for an architecture', () => {
  const cpu = { modelName: 'Fast CPU', numCores: 2, numThreads: 4, architecture: 'amd64', variant: undefined };
  expect(parseCpuInfo(twoSockets, AMD64)).toEqual([cpu, cpu]);
});

test('[IAM-19] a kernel that tells no sockets: one CPU with as many cores as processors', () => {
  const text = [0, 1, 2, 3].map((core) => `processor\t: ${core}\nBogoMIPS\t: 108.00\n`).join('\n');
  const [cpu, ...others] = parseCpuInfo(text, { architecture: 'arm64', variant: 'v8' });
  expect(others).toEqual([]);
  expect(cpu).toMatchObject({ numCores: 4, numThreads: 4, architecture: 'arm64', variant: 'v8' });
});

test.each(['', 'nonsense', 'a: b: c\n::\n'])('[IAM-19] a text without processors gives one default CPU: %j', (text) => {
  expect(parseCpuInfo(text, AMD64)).toEqual([
    { modelName: '', numCores: 1, numThreads: 1, architecture: 'amd64', variant: undefined },
  ]);
});

test('numbers that are none leave what was known', () => {
  const text = 'processor: 0\nphysical id: 0\ncpu cores: many\nsiblings: 8\n';
  expect(parseCpuInfo(text, AMD64)).toMatchObject([{ numCores: 1, numThreads: 8 }]);
});

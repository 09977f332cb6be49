import { expect, test } from 'vitest';
import { execProgram, mustExec, quote, runtimeComplaint } from './exec-file.ts';

const options = (more: object = {}) => ({ signal: new AbortController().signal, timeoutMs: 20_000, ...more });

test('exit code and both outputs come back, input goes in', async () => {
  const script = 'cat; echo err >&2; exit 3';
  expect(await execProgram('sh', ['-c', script], options({ input: 'in ' }))).toEqual({
    exitCode: 3,
    output: 'in err\n',
  });
});

test('a failure quotes the program', async () => {
  await expect(mustExec('sh', ['-c', 'echo no  way; exit 3'], options())).rejects.toMatchObject({
    code: 'runtime',
    exitCode: 3,
    message: expect.stringContaining('exit=3: no way'),
  });
  expect(quote('x'.repeat(200))).toBe(`${'x'.repeat(128)}...`);
});

test('death by signal counts as -1', async () => {
  expect((await execProgram('sh', ['-c', 'kill -9 $$'], options())).exitCode).toBe(-1);
});

test('a grandchild that holds the pipes does not hold up the caller', async () => {
  const result = await execProgram('sh', ['-c', 'sleep 20 & echo $!'], options());
  process.kill(Number(result.output), 'SIGKILL');
  expect(result.exitCode).toBe(0);
});

test('time and patience end it', async () => {
  await expect(execProgram('sleep', ['1000'], options({ timeoutMs: 50 }))).rejects.toMatchObject({ code: 'timeout' });
  const signal = AbortSignal.timeout(50);
  // The patience of whoever asked is told as the program's own bound is: by the program that hangs.
  const message = expect.stringMatching(/^sleep did not end within \d+ ms$/);
  await expect(execProgram('sleep', ['1000'], options({ signal }))).rejects.toMatchObject({ code: 'timeout', message });
  const end = new AbortController();
  const running = execProgram('sleep', ['1000'], options({ signal: end.signal }));
  end.abort();
  await expect(running).rejects.toMatchObject({ code: 'canceled' });
});

test('a program that is not there is an error that names it', async () => {
  await expect(execProgram('/no/such', [], options())).rejects.toMatchObject({ code: 'notFound' });
});

test('programs that we start do not speak to the service manager for us', async () => {
  process.env.NOTIFY_SOCKET = '/nowhere';
  try {
    expect((await execProgram('sh', ['-c', 'echo "[$NOTIFY_SOCKET]"'], options())).output).toBe('[]\n');
  } finally {
    delete process.env.NOTIFY_SOCKET;
  }
});

test('of the words of a container runtime the error counts', () => {
  const log =
    'time="2026-11-25T02:52:37Z" level=warning msg="unable to get oom kill count"\ntime="2026-11-25T02:52:37Z" level=error msg="exec: \\"/bin/nothing\\": no such file"\n';
  expect(runtimeComplaint(log)).toBe('exec: "/bin/nothing": no such file');
  expect(runtimeComplaint('executable file not found\n')).toBe('executable file not found');
});

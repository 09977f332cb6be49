import { expect, test } from 'vitest';
import { ApiServer } from '../../api/index.ts';
import { silentLogger, systemClock } from '../../core/index.ts';
import { GrpcTarget } from './grpc-target.ts';

test('a try that was given up and fails late leaves alone the connection that came after it', async () => {
  const server = await ApiServer.open({ listen: '127.0.0.1:0', routes: () => undefined, logger: silentLogger });
  const late = Promise.withResolvers<undefined>();
  const answers = [late.promise, Promise.resolve(undefined)];
  const target = new GrpcTarget({
    name: 'CM',
    address: `127.0.0.1:${server.address.port}`,
    credentials: [() => answers.shift() ?? Promise.resolve(undefined)],
    clock: systemClock,
    logger: silentLogger,
  });
  try {
    const givenUp = target.channel();
    target.close();
    const present = await target.channel();
    late.reject(new Error('IAM is away'));
    await expect(givenUp).rejects.toThrow(/IAM is away/);
    expect(await target.channel()).toBe(present);
  } finally {
    target.close();
    await server.close();
  }
});

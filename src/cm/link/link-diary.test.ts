import { connect as connectTcp } from 'node:net';
import { expect, test } from 'vitest';
import { AosError, asAosError, silentLogger, systemClock } from '../../core/index.ts';
import { LinkDiary } from './link-diary.ts';

const diary = () => new LinkDiary({ logger: silentLogger, clock: systemClock });

/** What Node.js says of a port that nobody listens on. */
const refusal = () =>
  new Promise<Error>((resolve) => {
    connectTcp({ port: 1, host: '127.0.0.1' }).on('error', resolve);
  });

test('[P-08] a failure is reported with the code of the system, however often it was put into other words', async () => {
  const kept = diary();
  kept.failed(asAosError(asAosError(await refusal(), 'discovery at https://cloud'), 'cannot connect'), 'no cloud');
  expect(kept.report).toMatchObject({
    lastError: expect.stringMatching(/^cannot connect: discovery at/),
    lastErrorCode: 'ECONNREFUSED',
  });
});

test('[P-08] that of OpenSSL, which is no number of the system, is reported as well', () => {
  const kept = diary();
  const error = Object.assign(new Error('certificate has expired'), { code: 'CERT_HAS_EXPIRED' });
  kept.failed(asAosError(error, 'discovery at https://cloud'), 'no cloud');
  expect(kept.report).toMatchObject({ lastErrorCode: 'CERT_HAS_EXPIRED' });
});

test('[P-08] where no system was asked, the code is that of the error itself; a session that is up has none', () => {
  const kept = diary();
  kept.failed(new AosError('timeout', 'discovery did not answer'), 'no cloud');
  kept.enter('waiting');
  expect(kept.report).toMatchObject({ state: 'waiting', lastErrorCode: 'timeout' });
  kept.enter('connected', 'wss://cloud');
  expect(kept.report).not.toHaveProperty('lastErrorCode');
});

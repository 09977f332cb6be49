/** Who the unit is and with what it speaks: everything that IAM tells (spec/cm.md 1.6, spec/decisions.md CM-05). */
import { type Clock, systemClock } from '../core/index.ts';
import { IamCredentials, type Life } from '../daemon/index.ts';
import type { CmConfig } from './config.ts';
import { IamClient, ProtectedIam, untilIamAnswers } from './iam/index.ts';
import { ServerCredentials } from './server-credentials.ts';

export interface Identity {
  readonly credentials: IamCredentials;
  readonly iam: IamClient;
  /** Orders to IAM, which need a certificate. */
  readonly orders: ProtectedIam;
  /** What our own servers show. */
  readonly server: ServerCredentials;
}

/** Waits for IAM for as long as it takes; `onWaiting` hears what hinders it. */
export async function learnIdentity(
  life: Life,
  config: CmConfig,
  ca: string,
  onWaiting: (because: string) => void,
): Promise<Identity> {
  const { logger, signal } = life;
  const clock: Clock = systemClock;
  const credentials = new IamCredentials({
    publicAddress: config.iamPublicServerUrl,
    caFile: config.caCert,
    checkHostName: config.tls.checkHostName,
    logger,
    signal,
    onStaleToken: (reason) => life.startOver(reason),
  });
  const certType = config.certStorage;
  const iam = life.use('iam', new IamClient({ channel: credentials.channel, logger, clock }));
  const server = life.use(
    'server-credentials',
    new ServerCredentials({ credentials, certType, ca, clock, logger, signal }),
  );
  const orders = life.use(
    'iam-orders',
    new ProtectedIam({
      address: config.iamProtectedServerUrl,
      serverTls: credentials.serverTls(),
      identity: () => server.tls.identity,
      clock,
    }),
  );
  const start = async () => {
    await server.load();
    await iam.start();
  };
  await untilIamAnswers(start, onWaiting, { clock, logger, signal });
  return { credentials, iam, orders, server };
}

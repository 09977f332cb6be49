import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { ApiServer } from '../../api/index.ts';
import { type InstanceIdent, silentLogger } from '../../core/index.ts';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { IamPermissions } from './iam-client.ts';
import { FakeCredentials, tlsIdentity } from './scripted-cm-for-tests.ts';

const { signal } = new AbortController();
const PERMISSIONS = { vis: { speed: 'r' } };
const ident = (itemId: string): InstanceIdent => ({
  itemId,
  subjectId: 'subject',
  instance: 0,
  type: 'service',
  preinstalled: false,
});

let server: ApiServer;
let credentials: FakeCredentials;
let permissions: IamPermissions;
/** `slow` is answered when this resolves; it has been asked for when `asked` does. */
let answer: PromiseWithResolvers<void>;
let asked: PromiseWithResolvers<void>;

beforeEach(async () => {
  answer = Promise.withResolvers();
  asked = Promise.withResolvers();
  const root = await makeCertificate('root', { ca: true });
  credentials = new FakeCredentials(tlsIdentity(await makeCertificate('sm', { issuer: root })));
  server = await ApiServer.open({
    listen: '127.0.0.1:0',
    tls: {
      identity: tlsIdentity(await makeCertificate('iam', { issuer: root, dnsName: 'localhost' })),
      ca: root.pem,
      clientCertificate: 'required',
    },
    logger: silentLogger,
    routes: (router) => {
      router.service(iam.IAMPermissionsService, {
        registerInstance: async ({ instance }) => {
          if (instance?.itemId === 'refused') throw new ConnectError('too many permissions', Code.Internal);
          if (instance?.itemId === 'slow') {
            asked.resolve();
            await answer.promise;
          }
          return { secret: `secret of ${instance?.itemId}` };
        },
      });
    },
  });
  permissions = new IamPermissions({
    address: `localhost:${server.address.port}`,
    ca: root.pem,
    checkHostName: true,
    credentials,
    certStorage: 'sm',
  });
});

afterEach(async () => {
  permissions.stop();
  await server.close();
});

const register = (itemId: string) => permissions.register(ident(itemId), PERMISSIONS, signal);

test('[SM-42] an instance that IAM refuses costs no other one its registration', async () => {
  const slow = register('slow');
  await asked.promise;
  await expect(register('refused')).rejects.toMatchObject({ code: 'failed' });
  answer.resolve();
  expect(await slow).toBe('secret of slow');
});

test('[R-09] a new certificate ends no registration that goes on', async () => {
  const slow = register('slow');
  await asked.promise;
  credentials.change();
  expect(await register('next')).toBe('secret of next');
  answer.resolve();
  expect(await slow).toBe('secret of slow');
});

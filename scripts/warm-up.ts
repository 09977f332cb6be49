/**
 * What the build starts a daemon with, so that V8 keeps the functions of a start: its configuration, its key, and an IAM that
 * knows it, in a directory of their own. Nothing of the host is touched, and nobody else answers: no cloud, no runtimes.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { iam } from '../src/api/contracts.ts';
import { ApiServer } from '../src/api/index.ts';
import { silentLogger } from '../src/core/index.ts';
import { makeCertificate, type TestIdentity } from '../src/storage/certificates-for-tests.ts';

/** Daemons that the build starts. */
export type WarmDaemon = 'iam' | 'cm' | 'sm';

/** Writes a file of the daemon; answers its path. */
type Write = (name: string, text: string) => string;

const NODE = { nodeId: 'main', nodeType: 'main', title: 'main', attrs: [{ name: 'MainNode', value: '' }] };
const ANY_PORT = '127.0.0.1:0';
const KEY_ID = '00'.repeat(16);

/** Answers the words of the command line. What was made goes when the process ends. */
export async function prepareStart(daemon: WarmDaemon): Promise<readonly string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'aos-build-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  // No program of the host is found.
  process.env.PATH = directory;
  mkdirSync(join(directory, 'keys'), { mode: 0o700 });
  const write: Write = (name, text) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const root = await makeCertificate('root', { ca: true });
  const own = await makeCertificate(daemon, { issuer: root, dnsName: 'localhost' });
  const certificate = write(`keys/${daemon}.${KEY_ID}.crt`, own.pem);
  const key = write(`keys/${daemon}.${KEY_ID}.key`, pemOf(own));
  const common = {
    caCert: write('root.pem', root.pem),
    certStorage: daemon,
    workingDir: join(directory, 'work'),
    controlSocket: join(directory, 'control.sock'),
  };
  const special = daemon === 'iam' ? iamConfig(directory, write) : await clientConfig(daemon, directory, write);
  return ['-c', write('daemon.cfg', JSON.stringify({ ...common, ...special }))];

  async function clientConfig(client: 'cm' | 'sm', directory: string, write: Write): Promise<object> {
    const urls = { certUrl: `file://${certificate}`, keyUrl: `file://${key}` };
    const address = `localhost:${(await openIam(root, urls)).address.port}`;
    const ofIam = { iamPublicServerUrl: address, iamProtectedServerUrl: address };
    const silent = await openSilent();
    return { ...ofIam, ...(client === 'cm' ? cmConfig(silent, directory) : smConfig(silent, write)) };
  }
}

function iamConfig(directory: string, write: Write): object {
  // Whose the keys are is asked when somebody wants them to go.
  write('keys/owner', 'nobody');
  return {
    iamPublicServerURL: ANY_PORT,
    iamProtectedServerURL: ANY_PORT,
    runtimeDir: join(directory, 'run'),
    enablePermissionsHandler: true,
    nodeInfo: {
      provisioningStatePath: write('state', 'provisioned'),
      nodeIDPath: write('node-id', `${NODE.nodeId}\n`),
      nodeName: NODE.title,
      nodeType: NODE.nodeType,
      maxDMIPS: 1000,
      attrs: { MainNode: '' },
      partitions: [{ name: 'states', types: ['states'], path: directory }],
    },
    identifier: {
      plugin: 'fileidentifier',
      params: {
        systemIDPath: write('system-id', 'unit\n'),
        unitModelPath: write('unit-model', 'model;1.0.0\n'),
        subjectsPath: write('subjects', 'subject\n'),
      },
    },
    certModules: [
      { id: 'iam', plugin: 'swmodule', algorithm: 'ecc', maxItems: 2, params: { directory: join(directory, 'keys') } },
    ],
  };
}

const cmConfig = (cloud: string, directory: string): object => ({
  cmServerUrl: ANY_PORT,
  fileServerUrl: ANY_PORT,
  serviceDiscoveryUrl: `https://${cloud}/`,
  dnsStoragePath: join(directory, 'dns'),
});

const smConfig = (cm: string, write: Write): object => ({
  cmServerUrl: cm,
  resourcesConfigFile: write('resources.cfg', '[]'),
  network: { mode: 'loopback' },
  runtimes: [],
});

/** The public side of IAM, for which every certificate is the same. */
async function openIam(root: TestIdentity, urls: { readonly certUrl: string; readonly keyUrl: string }) {
  const own = await makeCertificate('iam', { issuer: root, dnsName: 'localhost' });
  const identity = { certificateChain: own.pem, key: { kind: 'pem', pem: pemOf(own) } } as const;
  return ApiServer.open({
    listen: ANY_PORT,
    tls: { identity, ca: root.pem, clientCertificate: 'none' },
    logger: silentLogger,
    routes: (router) => {
      router.service(iam.IAMPublicCertService, {
        getCert: ({ type }) => ({ type, ...urls }),
        subscribeCertChanged: (_, { signal }) => silence(signal),
      });
      router.service(iam.IAMPublicIdentityService, {
        getSystemInfo: () => ({ systemId: 'unit', unitModel: 'model', version: '1.0.0' }),
        getSubjects: () => ({ subjects: ['subject'] }),
        subscribeSubjectsChanged: (_, { signal }) => silence(signal),
      });
      router.service(iam.IAMPublicCurrentNodeService, { getCurrentNodeInfo: () => NODE });
      router.service(iam.IAMPublicNodesService, {
        getAllNodeIDs: () => ({ ids: [NODE.nodeId] }),
        getNodeInfo: () => NODE,
        subscribeNodeChanged: (_, { signal }) => silence(signal),
      });
    },
  });
}

/** Takes connections and says nothing: whether it refuses in time would be a matter of chance. */
async function openSilent(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `localhost:${(server.address() as AddressInfo).port}`;
}

/** A stream on which nothing is told until it is broken off. */
async function* silence(signal: AbortSignal): AsyncGenerator<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

const pemOf = ({ privateKey }: TestIdentity) => privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

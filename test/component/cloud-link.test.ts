/** The CM's link at a real cloud: both halves of the protocol, each with its own code. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { makeCsr, ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { CertificateRenewal } from '../../src/cm/certificates/index.ts';
import { CloudLink } from '../../src/cm/link/cloud-link.ts';
import { MemoryOutboxStore, QUICK } from '../../src/cm/link/link-for-tests.ts';
import { silentLogger } from '../../src/core/index.ts';
import type { CertificateUrls } from '../../src/daemon/index.ts';
import type { BlobUrls, DesiredStatus, UnitStatus } from '../../src/protocol/index.ts';

let cloud: TestCloud;
const links: CloudLink[] = [];

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.stop()));
});

afterAll(() => cloud.close());

const status: UnitStatus = {
  messageType: 'unitStatus',
  isDeltaInfo: false,
  unitConfig: [{ state: 'absent' }],
  nodes: [
    {
      identity: { codename: 'main', title: '' },
      nodeGroupSubject: { codename: 'gateway' },
      maxDmips: 1000,
      totalRam: 1024,
      osInfo: { os: 'linux' },
      attrs: { MainNode: '' },
      state: 'provisioned',
      isConnected: true,
    },
  ],
  items: [],
  instances: [],
  subjects: [],
};

/** The unit's certificates, which a renewal changes. */
class UnitCredentials {
  #chain: string;
  #key: string;
  #tell: (urls: CertificateUrls) => void = () => undefined;

  constructor(chain: string, key: string) {
    this.#chain = chain;
    this.#key = key;
  }

  async identity() {
    const pem = createPrivateKey(this.#key).export({ format: 'pem', type: 'pkcs8' }) as string;
    return { certificateChain: this.#chain, key: { kind: 'pem' as const, pem } };
  }

  async urls() {
    return { type: 'online', certUrl: '', keyUrl: '' };
  }

  onChange(_: string, listener: (urls: CertificateUrls) => void) {
    this.#tell = listener;
    return () => undefined;
  }

  replace(chain: string, key: string): void {
    this.#chain = chain;
    this.#key = key;
    this.#tell({ type: 'online', certUrl: '', keyUrl: '' });
  }
}

async function connect() {
  const unit = await ScriptedUnit.register(cloud);
  const credentials = new UnitCredentials(unit.identity.cert, unit.identity.key);
  const store = new MemoryOutboxStore();
  const { discoveryUrl } = cloud.endpoints;
  const link = new CloudLink({
    systemId: unit.systemId,
    discovery: { serviceDiscoveryUrl: discoveryUrl, overrideServiceDiscoveryUrl: discoveryUrl },
    ca: cloud.root,
    credentials,
    store,
    cloudResponseWaitTimeoutMs: 10_000,
    logger: silentLogger,
    numbers: QUICK,
  });
  links.push(link);
  const desired: DesiredStatus[] = [];
  link.handle('desiredStatus', (message, { refused }) => {
    expect(refused).toEqual([]);
    desired.push(message);
  });
  link.setOpening(async () => status);
  link.start();
  await vi.waitFor(() => expect(link.connected).toBe(true), { timeout: 10_000 });
  return { unit, link, desired, credentials, store };
}

test('[CM-05] a registered unit connects with its online certificate, and its full status is the picture of it', async () => {
  const { unit } = await connect();
  await vi.waitFor(async () => {
    const seen = await cloud.must<{ nodes: { nodeId?: string }[] }>('GET', unit.path);
    expect(JSON.stringify(seen.nodes)).toContain('main');
  });
});

test('[CM-16] a deployed item is desired, and the cloud says where its blobs are', async () => {
  const { index } = await cloud.publish('linked', '1.0.0');
  const { unit, link, desired } = await connect();
  await cloud.must('PUT', `${unit.path}/deployments/linked`, { version: '1.0.0', numInstances: 1 });
  await vi.waitFor(() => expect(desired.at(-1)?.items).toHaveLength(1));
  expect(desired.at(-1)).toMatchObject({
    items: [{ item: { id: 'linked', type: 'service' }, version: '1.0.0', indexDigest: index }],
    instances: [{ item: { id: 'linked' }, numInstances: 1 }],
  });
  const answer = (await link.request(
    { messageType: 'requestBlobUrls', correlationId: 'asked', digests: [index] },
    AbortSignal.timeout(10_000),
  )) as BlobUrls;
  expect(answer.items.map(({ digest }) => digest)).toEqual([index]);
  expect(answer.items[0]?.urls.length).toBeGreaterThan(0);
});

test('[CM-11] a connection that the cloud drops is opened again with a full status', async () => {
  const { unit, link } = await connect();
  const changes: boolean[] = [];
  link.onConnection((connected) => changes.push(connected));
  await cloud.must('POST', `${unit.path}/disconnect`);
  await vi.waitFor(() => expect(changes).toEqual([false, true]), { timeout: 10_000 });
});

test('[CM-08] a message that the cloud wants later is sent again until it is acknowledged', async () => {
  const { unit, link, store } = await connect();
  await cloud.must('POST', `${unit.path}/disturb`, {
    answer: 'nack',
    retryAfter: 1,
    messageType: 'newState',
    count: 6,
  });
  link.send(
    {
      messageType: 'newState',
      item: { id: 'i' },
      subject: { id: 's' },
      instance: 0,
      stateChecksum: '6b4e03423667dbb73b6e15454f0eb1abd4597f9a1b078e3f5b5a6bc7',
      state: '',
    },
    { durable: true },
  );
  expect(store.messages.size).toBe(1);
  await vi.waitFor(() => expect(store.messages.size).toBe(0), { timeout: 10_000 });
});

test('[CM-127] [CM-14] the cloud renews the online certificate, and the link goes on with the new one', async () => {
  const { unit, link, credentials, store } = await connect();
  let key = '';
  const installed: string[] = [];
  const renewal = new CertificateRenewal({
    iam: {
      createKey: async (nodeId, type, secret) => {
        expect([nodeId, type, secret]).toEqual(['main', 'online', 'password of main']);
        const made = await makeCsr(unit.systemId);
        key = made.key;
        return made.csr;
      },
      applyCert: async (_, __, chain) => {
        const { serialNumber } = new X509Certificate(chain);
        installed.push(serialNumber.toLowerCase());
        credentials.replace(chain, key);
        return serialNumber;
      },
    },
    link,
    mainNodeId: () => 'main',
    logger: silentLogger,
  });
  renewal.start();
  const changes: boolean[] = [];
  link.onConnection((connected) => changes.push(connected));
  await cloud.must('POST', `${unit.path}/certificates/renew`, { types: ['online'] });
  await vi.waitFor(() => expect(changes).toEqual([false, true]), { timeout: 15_000 });
  expect(installed).toHaveLength(1);
  expect(installed[0]).not.toBe(new X509Certificate(unit.identity.cert).serialNumber.toLowerCase());
  await vi.waitFor(() => expect(store.messages.size).toBe(0), { timeout: 10_000 });
  renewal.stop();
});

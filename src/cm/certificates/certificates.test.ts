import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { AosError, ERROR_CODES, silentLogger } from '../../core/index.ts';
import { RecordingLink } from '../link/recording-link-for-tests.ts';
import { type CertificateIam, CertificateRenewal, NodeProvisioning } from './index.ts';
import { installOrder } from './plan-renewal.ts';

const MAIN = 'node-main';

/** IAM that writes down what it is asked, and fails where a test wants it to. */
class ScriptedIam implements CertificateIam {
  readonly calls: string[] = [];
  types: readonly string[] = ['online', 'iam', 'sm', 'diskencryption'];
  readonly failing = new Map<string, AosError>();

  #note(call: string): void {
    this.calls.push(call);
    const error = this.failing.get(call);
    if (error) throw error;
  }

  async certTypes(nodeId: string) {
    this.#note(`types ${nodeId}`);
    return this.types;
  }

  async createKey(nodeId: string, type: string, password: string) {
    this.#note(`key ${nodeId} ${type} ${password}`);
    return `CSR ${nodeId} ${type}`;
  }

  async applyCert(nodeId: string, type: string) {
    this.#note(`apply ${nodeId} ${type}`);
    return '51C0FFEE';
  }

  async startProvisioning(nodeId: string, password: string) {
    this.#note(`start ${nodeId} ${password}`);
  }

  async finishProvisioning(nodeId: string, password: string) {
    this.#note(`finish ${nodeId} ${password}`);
  }

  async deprovision(nodeId: string, password: string) {
    this.#note(`deprovision ${nodeId} ${password}`);
  }
}

let iam: ScriptedIam;
let link: RecordingLink;

beforeEach(() => {
  iam = new ScriptedIam();
  link = new RecordingLink();
  const options = { iam, link, mainNodeId: () => MAIN, logger: silentLogger };
  new CertificateRenewal(options).start();
  new NodeProvisioning(options).start();
});

const node = (codename: string) => ({ codename });
const expiring = (type: string, nodeId: string) => ({ type, node: node(nodeId), serial: '' });
const issued = (type: string, nodeId: string) => ({ type, node: node(nodeId), certificateChain: 'PEM' });

describe('renewal', () => {
  test('[CM-127] a notification leads to keys and one message with all requests, which survives a restart', async () => {
    await link.receive({
      messageType: 'renewCertificatesNotification',
      certificates: [expiring('online', MAIN), expiring('sm', 'node-b')],
      unitSecrets: {
        version: '2.0.0',
        nodes: [
          { node: node(MAIN), secret: 'secret-a' },
          { node: node('node-b'), secret: 'secret-b' },
        ],
      },
    });
    expect(iam.calls).toEqual([`key ${MAIN} online secret-a`, 'key node-b sm secret-b']);
    expect(link.sent).toEqual([
      {
        messageType: 'issueUnitCertificates',
        requests: [
          { type: 'online', node: node(MAIN), csr: `CSR ${MAIN} online` },
          { type: 'sm', node: node('node-b'), csr: 'CSR node-b sm' },
        ],
      },
    ]);
    expect(link.options).toEqual([{ durable: true }]);
  });

  test('[CM-128] a missing secret or a failing key concerns its entry only, and is reported', async () => {
    iam.failing.set('key node-b sm b', new AosError('timeout', 'node does not answer'));
    await link.receive({
      messageType: 'renewCertificatesNotification',
      certificates: [expiring('sm', 'node-b'), expiring('sm', 'node-c'), expiring('um', MAIN), expiring('cm', MAIN)],
      unitSecrets: {
        version: '',
        nodes: [
          { node: node(MAIN), secret: 'a' },
          { node: node('node-b'), secret: 'b' },
        ],
      },
    });
    expect(link.sent).toMatchObject([
      { messageType: 'issueUnitCertificates', requests: [{ type: 'cm', node: node(MAIN) }] },
      {
        messageType: 'installUnitCertificatesConfirmation',
        certificates: [
          { type: 'sm', node: node('node-c'), serial: '', errorInfo: { aosCode: ERROR_CODES.notFound } },
          { type: 'sm', node: node('node-b'), serial: '', errorInfo: { aosCode: ERROR_CODES.timeout } },
        ],
      },
    ]);
  });

  test('[CM-127] issued certificates are installed and confirmed with their serials; a failure stops nothing', async () => {
    iam.failing.set('apply node-b sm', new AosError('notFound', 'node is not connected'));
    await link.receive({
      messageType: 'issuedUnitCertificates',
      certificates: [issued('iam', MAIN), issued('online', MAIN), issued('azure-iot', MAIN), issued('sm', 'node-b')],
    });
    expect(iam.calls).toEqual(['apply node-b sm', `apply ${MAIN} online`, `apply ${MAIN} iam`]);
    expect(link.sent).toEqual([
      {
        messageType: 'installUnitCertificatesConfirmation',
        certificates: [
          {
            type: 'sm',
            node: node('node-b'),
            serial: '',
            errorInfo: { aosCode: ERROR_CODES.notFound, exitCode: 0, message: 'node is not connected' },
          },
          { type: 'online', node: node(MAIN), serial: '51c0ffee' },
          expect.objectContaining({
            type: 'azure-iot',
            errorInfo: expect.objectContaining({ aosCode: ERROR_CODES.notSupported }),
          }),
          { type: 'iam', node: node(MAIN), serial: '51c0ffee' },
        ],
      },
    ]);
    expect(link.options).toEqual([{ durable: true }]);
  });

  test('an entry that could not be read is confirmed with its error', async () => {
    const error = new AosError('invalidArgument', 'certificateChain: expected a string');
    await link.receive({ messageType: 'issuedUnitCertificates', certificates: [] }, [
      { list: 'certificates', index: 0, entry: { type: 'sm', node: node('node-b') }, id: 'node-b', error },
    ]);
    expect(link.sent).toMatchObject([
      { certificates: [{ type: 'sm', node: node('node-b'), errorInfo: { aosCode: ERROR_CODES.invalidArgument } }] },
    ]);
  });

  test('the main node comes last, and iam last on each node', () => {
    const entries = fc.array(
      fc.record({
        type: fc.constantFrom('online', 'iam', 'sm', 'cm'),
        node: fc.constantFrom(MAIN, 'node-a', 'node-z').map(node),
        certificateChain: fc.constant('PEM'),
      }),
    );
    fc.assert(
      fc.property(entries, (certificates) => {
        const ordered = installOrder(certificates, MAIN);
        expect(ordered).toHaveLength(certificates.length);
        for (const [before, after] of ordered.slice(1).map((entry, index) => [ordered[index]!, entry] as const)) {
          if (before.node.codename === MAIN) expect(after.node.codename).toBe(MAIN);
          if (before.node.codename === after.node.codename && before.type === 'iam') expect(after.type).toBe('iam');
        }
      }),
    );
  });
});

describe('provisioning of a node', () => {
  const about = { correlationId: 'prov-9', node: node('node-c') };

  test('[CM-129] starting makes a key for each type that the cloud knows', async () => {
    await link.receive({ messageType: 'startProvisioningRequest', ...about, password: 'p' });
    expect(iam.calls).toEqual([
      'start node-c p',
      'types node-c',
      'key node-c online p',
      'key node-c iam p',
      'key node-c sm p',
    ]);
    expect(link.sent).toEqual([
      {
        messageType: 'startProvisioningResponse',
        ...about,
        csrs: ['online', 'iam', 'sm'].map((type) => ({ type, csr: `CSR node-c ${type}` })),
      },
    ]);
    expect(link.options).toEqual([{ durable: true }]);
  });

  test('[CM-129] the first failure ends starting and is reported', async () => {
    iam.failing.set('key node-c iam p', new AosError('runtime', 'token is full', { exitCode: 28 }));
    await link.receive({ messageType: 'startProvisioningRequest', ...about, password: 'p' });
    expect(link.sent).toEqual([
      {
        messageType: 'startProvisioningResponse',
        ...about,
        errorInfo: { aosCode: ERROR_CODES.runtime, exitCode: 28, message: 'token is full' },
        csrs: [
          { type: 'online', csr: 'CSR node-c online' },
          { type: 'iam', csr: '' },
        ],
      },
    ]);
  });

  test('[CM-129] finishing installs the certificates in the given order, then ends provisioning', async () => {
    const certificates = ['sm', 'iam'].map((type) => ({ type, chain: 'PEM' }));
    await link.receive({ messageType: 'finishProvisioningRequest', ...about, certificates, password: 'p' });
    expect(iam.calls).toEqual(['apply node-c sm', 'apply node-c iam', 'finish node-c p']);
    expect(link.sent).toEqual([{ messageType: 'finishProvisioningResponse', ...about }]);
  });

  test('[CM-129] a certificate of an unknown type ends finishing with an error', async () => {
    const certificates = ['um', 'iam'].map((type) => ({ type, chain: 'PEM' }));
    await link.receive({ messageType: 'finishProvisioningRequest', ...about, certificates, password: 'p' });
    expect(iam.calls).toEqual([]);
    expect(link.sent).toMatchObject([{ ...about, errorInfo: { aosCode: ERROR_CODES.notSupported } }]);
  });

  test('[CM-129] a node is deprovisioned, the main node is not', async () => {
    await link.receive({ messageType: 'deprovisioningRequest', ...about, password: 'p' });
    await link.receive({ messageType: 'deprovisioningRequest', node: node(MAIN), password: 'p' });
    expect(iam.calls).toEqual(['deprovision node-c p']);
    expect(link.sent).toMatchObject([
      { messageType: 'deprovisioningResponse', ...about },
      { messageType: 'deprovisioningResponse', node: node(MAIN), errorInfo: { aosCode: ERROR_CODES.wrongState } },
    ]);
    expect(link.sent[0]).not.toHaveProperty('errorInfo');
  });
});

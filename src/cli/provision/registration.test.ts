import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { describeNode, readRegistrationAnswer, registrationRequest, splitUnitModel } from './registration.ts';

const key = (nodeId: string, type: string) => ({ nodeId, type, csr: `csr of ${nodeId} ${type}` });

const node = create(iam.NodeInfoSchema, {
  nodeId: 'main',
  nodeType: 'gateway',
  title: 'Main node',
  maxDmips: 10_000n,
  totalRam: 1024n,
  osInfo: { os: 'linux', version: '6.6' },
  cpus: [{ modelName: 'x', numCores: 2n, numThreads: 4n, archInfo: { architecture: 'arm64', variant: 'v8' } }],
  attrs: [{ name: 'MainNode', value: '' }],
  partitions: [{ name: 'states', types: ['states'], totalSize: 7n, path: '/var/aos/states' }],
  state: 'unprovisioned',
});

test('a node is described under its names of API v6 and of v5 at once', () => {
  expect(describeNode(node)).toEqual({
    identity: { codename: 'main', title: 'Main node' },
    nodeGroupSubject: { codename: 'gateway' },
    id: 'main',
    type: 'gateway',
    name: 'Main node',
    maxDmips: 10_000,
    totalRam: 1024,
    osInfo: { os: 'linux', version: '6.6' },
    osType: 'linux',
    cpus: [
      {
        modelName: 'x',
        totalNumCores: 2,
        totalNumThreads: 4,
        archInfo: { architecture: 'arm64', variant: 'v8' },
        arch: 'arm64',
        archFamily: 'v8',
      },
    ],
    attrs: { MainNode: '' },
    partitions: [{ name: 'states', types: ['states'], path: '/var/aos/states', totalSize: 7 }],
    state: 'unprovisioned',
    status: 'unprovisioned',
    isConnected: true,
  });
});

test('the unit model is split at its semicolon only when the version is not given apart', () => {
  expect(splitUnitModel({ unitModel: 'vm', version: '1.0' })).toEqual({ name: 'vm', version: '1.0' });
  expect(splitUnitModel({ unitModel: 'vm ; 1.0', version: '' })).toEqual({ name: 'vm', version: '1.0' });
  expect(splitUnitModel({ unitModel: 'vm', version: '' })).toEqual({ name: 'vm', version: 'Unknown' });
});

test('the registration carries every key, the passwords as JSON text, and the identity twice', () => {
  const keys = [key('main', 'online'), key('main', 'offline'), key('main', 'iam')];
  const system = { systemId: 'unit-1', unitModel: 'vm', version: '1.0' };
  const second = create(iam.NodeInfoSchema, { nodeId: 'second' });
  const request = registrationRequest(system, [
    { info: node, password: 'secret-1', keys },
    { info: second, password: 'secret-2', keys: [key('second', 'iam')] },
  ]);
  expect(request).toMatchObject({
    hardware_id: 'unit-1',
    system_uid: 'unit-1',
    model_name: 'vm',
    model_version: '1.0',
    online_public_csr: 'csr of main online',
    online_public_node_id: 'main',
    offline_public_csr: 'csr of main offline',
    offline_public_node_id: 'main',
    additional_csrs: [
      { cert_type: 'iam', csr: 'csr of main iam', node_id: 'main' },
      { cert_type: 'iam', csr: 'csr of second iam', node_id: 'second' },
    ],
  });
  expect(request.provisioning_software).toMatch(/^aos-provisioning:\d+\.\d+\.\d+$/);
  expect(JSON.parse(String(request.secure_data))).toEqual({
    version: '2.0.0',
    nodes: { main: 'secret-1', second: 'secret-2' },
  });
});

test('a unit without an online key is refused with the setting that is missing', () => {
  const nodes = [{ info: node, password: 'p', keys: [key('main', 'offline')] }];
  const system = { systemId: 'unit-1', unitModel: 'vm', version: '1.0' };
  expect(() => registrationRequest(system, nodes)).toThrow(/no certificate type "online".*certModules/);
});

test('certificates are matched by type, and by node when the cloud names it', () => {
  const keys = [key('main', 'online'), key('main', 'offline'), key('main', 'iam'), key('second', 'iam')];
  const answer = {
    online_certificate: 'ON',
    offline_certificate: 'OFF',
    additional_certs: [
      { cert_type: 'iam', node_id: 'second', cert: 'IAM2' },
      { cert_type: 'iam', node_id: 'main', cert: 'IAM1' },
    ],
  };
  expect(readRegistrationAnswer(answer, keys).map((entry) => entry.chain)).toEqual(['ON', 'OFF', 'IAM1', 'IAM2']);
  const withoutNodes = { ...answer, additional_certs: [{ cert_type: 'iam', cert: 'IAM' }] };
  expect(readRegistrationAnswer(withoutNodes, keys.slice(0, 3))[2]?.chain).toBe('IAM');
  expect(() => readRegistrationAnswer(withoutNodes, keys)).toThrow(/no certificate "iam" for node second/);
});

test('an answer without a certificate is refused with the name of the field', () => {
  expect(() => readRegistrationAnswer({ offline_certificate: 'x' }, [])).toThrow(/online_certificate/);
});

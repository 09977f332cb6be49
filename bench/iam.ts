/**
 * The Identity and Access Manager, from outside: what a TLS connection, a question, a key and a whole provisioning cost,
 * with keys in SoftHSM; beside the same with a key in memory, and beside pkcs11-tool. Needs what `./dev up` installs.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:tls';
import { softhsmLibrary } from '../devenv/token.ts';
import { iam } from '../src/api/contracts.ts';
import { buildIam, expectDone, IamNode, provisionNode } from '../test/component/iam-node.ts';
import { TestCa } from '../test/component/test-ca.ts';
import { formatTable, median, ms, ratio } from './table.ts';

const HANDSHAKES = 300;
const QUESTIONS = 2000;
const KEYS = 20;
/** Jiffies of /proc in a second. */
const TICKS = 100;

async function timed<T>(work: () => Promise<T>): Promise<{ readonly took: number; readonly value: T }> {
  const begin = performance.now();
  const value = await work();
  return { took: performance.now() - begin, value };
}

/** Processor time of a process so far, in milliseconds. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
}

/** Processor time of the server for each full handshake, in milliseconds. */
async function handshakeCost(port: number, pid: number, ca: string): Promise<number> {
  const shake = async () => {
    const socket = connect({ port, host: '127.0.0.1', ca, servername: 'localhost', ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    socket.destroy();
    await once(socket, 'close');
  };
  for (let round = 0; round < 50; round += 1) await shake();
  const before = cpuMs(pid);
  for (let round = 0; round < HANDSHAKES; round += 1) await shake();
  return (cpuMs(pid) - before) / HANDSHAKES;
}

/** A server that does nothing but handshakes, with a key of the same kind in memory. */
const MEMORY_SERVER = `
const { readFileSync } = require('node:fs');
const { cert, key } = JSON.parse(readFileSync(0, 'utf8'));
const server = require('node:http2').createSecureServer({ cert, key });
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
`;

async function memoryKeyCost(ca: TestCa): Promise<number> {
  const { certificateChain: cert, key } = await ca.identity('memory', { namedCurve: 'P-384' });
  const child = spawn(process.execPath, ['-e', MEMORY_SERVER], { stdio: ['pipe', 'inherit', 'inherit', 'ipc'] });
  try {
    child.stdin!.end(JSON.stringify({ cert, key: key.kind === 'pem' ? key.pem : '' }));
    const [port] = (await once(child, 'message')) as [number];
    return await handshakeCost(port, child.pid!, ca.root);
  } finally {
    child.kill('SIGKILL');
  }
}

const build = await buildIam();
const ca = await TestCa.create();
const node = await IamNode.create({ ca, bundle: build.bundle });
try {
  const start = await timed(() => node.start());

  // Provisioning, without the time that the authority takes to sign.
  const types = node.modules().map(({ id }) => String(id));
  const provisioning = node.client(iam.IAMProvisioningService, 'protected');
  const certificates = node.client(iam.IAMCertificateService, 'protected');
  const rounds: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const { took: owned } = await timed(async () =>
      expectDone(await provisioning.startProvisioning({ password: 'secret-1' })),
    );
    let sum = owned;
    for (const type of types) {
      const { took: made, value } = await timed(async () => expectDone(await certificates.createKey({ type })));
      const cert = await ca.sign(value.csr);
      const { took: applied } = await timed(async () => expectDone(await certificates.applyCert({ type, cert })));
      sum += made + applied;
    }
    rounds.push(sum);
  }

  const ours: number[] = [];
  for (let round = 0; round < KEYS; round += 1) {
    const { took } = await timed(async () => expectDone(await certificates.createKey({ type: 'iam' })));
    ours.push(took);
  }
  const tool: number[] = [];
  const pin = readFileSync(node.pinPath, 'utf8');
  const env = { ...process.env, SOFTHSM2_CONF: node.at('softhsm2.conf') };
  for (let round = 0; round < KEYS; round += 1) {
    const words = ['--module', softhsmLibrary(), '--token-label', 'aoscore', '--login', '--pin', pin, '--keypairgen'];
    const { took } = await timed(async () =>
      execFileSync(
        'pkcs11-tool',
        [...words, '--key-type', 'EC:secp384r1', '--label', 'bench', '--id', `${10 + round}`],
        {
          env,
          stdio: 'ignore',
        },
      ),
    );
    tool.push(took);
  }

  await provisionNode(node, ca);
  await node.restart();
  const inToken = await handshakeCost(node.ports.public, node.pid!, ca.root);
  const inMemory = await memoryKeyCost(ca);
  const client = node.client(iam.IAMPublicNodesService, 'public', { ca: ca.root });
  const answers: number[] = [];
  for (let round = 0; round < QUESTIONS; round += 1) {
    answers.push((await timed(() => client.getNodeInfo({ nodeId: node.nodeId }))).took);
  }

  console.log(
    formatTable({
      title: 'Identity and Access Manager',
      method: `Medians; ${HANDSHAKES} full TLS 1.3 handshakes one after another, processor time of the server; ${QUESTIONS} questions; ${KEYS} EC P-384 keys in SoftHSM, pkcs11-tool with its start.`,
      columns: ['what', 'measured', 'beside'],
      rows: [
        ['ready after its start', ms(start.took), ''],
        [
          'TLS handshake, key in the token (CPU)',
          ms(inToken),
          `${ms(inMemory)} with a key in memory: ${ratio(inToken, inMemory)}`,
        ],
        ['GetNodeInfo over TLS', ms(median(answers)), ''],
        [
          'key and request (EC)',
          ms(median(ours)),
          `${ms(median(tool))} pkcs11-tool: ${ratio(median(ours), median(tool))}`,
        ],
        [`provisioning of ${types.length} types, without signing`, ms(median(rounds)), ''],
      ],
    }),
  );
} finally {
  await node.close();
  await rm(build.directory, { recursive: true, force: true });
}

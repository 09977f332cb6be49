/**
 * Thousands of units at one aos-cloud: each a TLS connection of its own that speaks the protocol and runs nothing. The
 * cloud is a process of its own, so that its memory is its own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { CloudAccess, fetchHttps } from '../src/cloud/cloud-access-for-tests.ts';
import { exportKey, generateKeys, SIGNING_ALGORITHM, x509 } from '../src/cloud/pki/x509.ts';
import { REGISTRATION_PATH } from '../src/cloud/scripted-unit-for-tests.ts';
import { withoutRoot } from '../src/cm/link/without-root.ts';
import { decodeCloudMessage, encodeEnvelope, type UnitMessage } from '../src/protocol/index.ts';

const ROOT = join(import.meta.dirname, '..');
const BUNDLE = join(ROOT, 'dist', 'aos-cloud.mjs');
const SOURCE = join(ROOT, 'src', 'cloud', 'main.ts');
const SUBJECT = 'everyone';
const ITEM = 'simulated';
/** A round of statuses is how much the cloud takes in at once. */
const STATUS_ROUNDS = 5;
/**
 * Parts of the fleet after which memory is measured. The first links pay for what a process needs once: code, caches,
 * buffers of its servers, and the rush in which they came. What a unit costs is how memory grows from there.
 */
const MEASURED_AT = [0.1, 0.5, 1];

export interface SimulationOptions {
  readonly units: number;
  /** Units that register or connect at the same time. */
  readonly parallel: number;
  /** How long the memory of the idle cloud is watched; the least is what it needs. */
  readonly settleMs: number;
  /** The most that each step may take. */
  readonly patienceMs: number;
  readonly report?: (line: string) => void;
}

export interface SimulationResult {
  readonly connectedUnits: number;
  readonly connectionsPerSecond: number;
  /** Statuses that the cloud has stored and acknowledged. */
  readonly messagesPerSecond: number;
  /** From the order until the cloud has the acknowledgement of the last unit. */
  readonly deploymentMs: number;
  /** How memory grows with the fleet: between its half and all of it. */
  readonly bytesPerIdleUnit: number;
  /** In the end, when all is quiet again. */
  readonly cloudBytes: number;
  readonly memory: readonly MemoryPoint[];
}

export interface MemoryPoint {
  readonly units: number;
  readonly bytes: number;
}

/** Runs the whole simulation and leaves nothing behind. Rejects with `timeout` of a step that took too long. */
export async function simulateFleet(options: SimulationOptions): Promise<SimulationResult> {
  const directory = await mkdtemp(join(tmpdir(), 'aos-fleet-'));
  let cloud: { readonly child: ChildProcess; readonly access: CloudAccess } | undefined;
  let units: SimulatedUnit[] = [];
  try {
    cloud = await startCloudProcess(directory);
    const say = options.report ?? (() => undefined);
    const within = <T>(what: string, work: Promise<T>) => bounded(what, options.patienceMs, work);

    const registered = await within('registration', registerAll(cloud.access, options));
    say(`${registered.length} units are registered`);
    // What registrations have left in memory would hide what the links need.
    cloud.access.disconnect();
    await end(cloud.child);
    cloud = await startCloudProcess(directory);
    const { access, child } = cloud;
    units = registered.map((unit) => new SimulatedUnit(access, unit));
    const { settleMs } = options;
    const connectAll = (some: readonly SimulatedUnit[]) =>
      within(
        'connecting',
        inParallel(some, options.parallel, (unit) => unit.connect()),
      );
    const memory: MemoryPoint[] = [];
    let connectMs = 0;
    let connected = 0;
    for (const part of MEASURED_AT) {
      const more = units.slice(connected, Math.ceil(units.length * part));
      const connecting = performance.now();
      await connectAll(more);
      connectMs += performance.now() - connecting;
      connected += more.length;
      await within('statuses', Promise.all(units.slice(0, connected).map((unit) => unit.tell(STATUS_ROUNDS))));
      const bytes = await leastMemory(child, settleMs);
      memory.push({ units: connected, bytes });
      say(`${connected} units are connected; the cloud has ${Math.round(bytes / 1024 ** 2)} MiB`);
    }

    const sending = performance.now();
    await within('statuses', Promise.all(units.map((unit) => unit.tell(STATUS_ROUNDS))));
    const statusMs = performance.now() - sending;
    say(`${units.length * STATUS_ROUNDS} statuses are acknowledged after ${Math.round(statusMs)} ms`);

    await access.publish(ITEM, '1.0.0', 'nothing');
    const news = await Acknowledgements.follow(access);
    const ordering = performance.now();
    await access.must('PUT', `/api/subjects/${SUBJECT}/items/${ITEM}`, { version: '1.0.0' });
    await within('deployment', news.of(units.length));
    const deploymentMs = performance.now() - ordering;
    news.stop();
    if (units.some(({ hasItem }) => !hasItem)) throw new Error('a unit has acknowledged what it did not get');
    say(`all have the deployment after ${Math.round(deploymentMs)} ms`);

    const cloudBytes = await leastMemory(child, settleMs);
    return {
      connectedUnits: units.length,
      connectionsPerSecond: (units.length / connectMs) * 1000,
      messagesPerSecond: ((units.length * STATUS_ROUNDS) / statusMs) * 1000,
      deploymentMs,
      bytesPerIdleUnit: growth(memory.at(-2)!, memory.at(-1)!),
      cloudBytes,
      memory,
    };
  } finally {
    for (const unit of units) unit.disconnect();
    cloud?.access.disconnect();
    if (cloud) await end(cloud.child);
    await rm(directory, { recursive: true, force: true });
  }
}

const growth = (from: MemoryPoint, to: MemoryPoint): number => (to.bytes - from.bytes) / (to.units - from.units);

/** In the directory of a former one it goes on from there. */
async function startCloudProcess(directory: string) {
  await mkdir(join(directory, 'work'), { mode: 0o700, recursive: true });
  const config = {
    ...{ workingDir: join(directory, 'work'), listenHost: '127.0.0.1' },
    ports: { discovery: 0, webSocket: 0, rest: 0, blobs: 0 },
    // One operator registers them all.
    rateLimit: { perSecond: 1_000_000, burst: 1_000_000 },
  };
  const file = join(directory, 'cloud.cfg');
  await writeFile(file, JSON.stringify(config));
  // As packaging/bin/aoscore starts daemons.
  const flags = await settings('node-flags.txt');
  const environment = (await settings('daemon.env')).map((line) => line.split('=', 2));
  const program = existsSync(BUNDLE) ? BUNDLE : SOURCE;
  const child = spawn(process.execPath, [...flags, program, '-c', file, '-v', 'error'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, ...Object.fromEntries(environment) },
  });
  const isReady = await Promise.race([once(child, 'message').then(() => true), once(child, 'exit').then(() => false)]);
  if (!isReady) throw new Error('aos-cloud did not start');
  const endpoints = JSON.parse(await readFile(join(directory, 'work', 'endpoints.json'), 'utf8'));
  return { child, access: new CloudAccess(directory, endpoints) };
}

/** The lines of a file of the package, without its comments. */
async function settings(name: string): Promise<string[]> {
  const text = await readFile(join(ROOT, 'packaging', name), 'utf8');
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function registerAll(cloud: CloudAccess, { units, parallel }: SimulationOptions): Promise<UnitIdentity[]> {
  // The keys of a real unit never leave it; these units have nothing to hide from each other.
  const keys = await generateKeys('ec');
  const key = await exportKey(keys.privateKey);
  await cloud.must('PUT', `/api/subjects/${SUBJECT}`, { type: 'group' });
  const names = Array.from({ length: units }, (_, index) => `simulated-${String(index).padStart(5, '0')}`);
  const made: UnitIdentity[] = [];
  await inParallel(names, parallel, async (name) => {
    const csr = await x509.Pkcs10CertificateRequestGenerator.create({
      ...{ name: `CN=${name}`, keys, signingAlgorithm: SIGNING_ALGORITHM },
    });
    const text = csr.toString('pem');
    const answer = await cloud.must<{ online_certificate: string }>('POST', REGISTRATION_PATH, {
      ...{ system_uid: name, model_name: 'simulated', online_public_csr: text, offline_public_csr: text },
      ...{ nodes: [{ id: 'main', attrs: { MainNode: '' } }], secure_data: '{}' },
    });
    await cloud.must('PUT', `/api/subjects/${SUBJECT}/units/${name}`);
    // As aos-cm shows it.
    made.push({ systemId: name, cert: withoutRoot(answer.online_certificate), key });
  });
  return made;
}

interface UnitIdentity {
  readonly systemId: string;
  readonly cert: string;
  readonly key: string;
}

/** A unit that acknowledges everything and does nothing. */
class SimulatedUnit {
  hasItem = false;
  readonly #cloud: CloudAccess;
  readonly #systemId: string;
  readonly #identity: { readonly cert: string; readonly key: string };
  #socket: WebSocket | undefined;
  #onAck: () => void = () => undefined;

  constructor(cloud: CloudAccess, { systemId, cert, key }: UnitIdentity) {
    this.#cloud = cloud;
    this.#systemId = systemId;
    this.#identity = { cert, key };
  }

  /** Discovers, connects, tells of itself, and gets its first desired status. */
  async connect(): Promise<void> {
    const { endpoints, root } = this.#cloud;
    const answer = await fetchHttps(
      endpoints.discoveryUrl,
      { method: 'POST', ca: root, agent: false, ...this.#identity },
      JSON.stringify({ version: 7, systemId: this.#systemId, supportedProtocols: ['wss'] }),
    );
    const { authToken } = JSON.parse(answer.body.toString()) as { authToken: string };
    const socket = new WebSocket(endpoints.webSocketUrl, {
      ...{ ca: root, ...this.#identity, perMessageDeflate: false },
      headers: { authorization: `Bearer ${authToken}` },
    });
    this.#socket = socket;
    const desired = new Promise<void>((resolve) => {
      socket.on('message', (data) => this.#receive(data as Buffer, resolve));
    });
    await once(socket, 'open');
    this.#send({
      ...{ messageType: 'unitStatus', isDeltaInfo: false },
      ...{ nodes: [], items: [], instances: [], subjects: [] },
    });
    await desired;
  }

  /** Sends statuses, each after the acknowledgement of the former one. */
  async tell(times: number): Promise<void> {
    for (let told = 0; told < times; told += 1) {
      const acknowledged = new Promise<void>((resolve) => {
        this.#onAck = resolve;
      });
      this.#send({ messageType: 'unitStatus', isDeltaInfo: true, subjects: [{ codename: `status-${told}` }] });
      await acknowledged;
    }
  }

  disconnect(): void {
    this.#socket?.terminate();
  }

  #receive(frame: Buffer, onDesired: () => void): void {
    const { header, data } = decodeCloudMessage(frame, { systemId: this.#systemId });
    if (data.messageType === 'ack') {
      this.#onAck();
      return;
    }
    this.#send({ messageType: 'ack' }, header.txn);
    if (data.messageType !== 'desiredStatus') return;
    this.hasItem = (data.items ?? []).length > 0;
    onDesired();
  }

  #send(data: UnitMessage, txn: string = crypto.randomUUID()): void {
    this.#socket?.send(encodeEnvelope({ txn, systemId: this.#systemId, createdAt: new Date(), data }));
  }
}

/** Counts what the cloud itself says to be acknowledged. */
class Acknowledgements {
  readonly #agent: Agent;
  #count = 0;
  #wanted = Number.POSITIVE_INFINITY;
  #done: () => void = () => undefined;

  private constructor(agent: Agent) {
    this.#agent = agent;
  }

  static async follow(cloud: CloudAccess): Promise<Acknowledgements> {
    const { token } = await cloud.must<{ token: string }>('POST', '/api/users/operator/tokens');
    const agent = new Agent({ ca: cloud.root });
    const news = new Acknowledgements(agent);
    const outgoing = request(`${cloud.endpoints.restUrl}/api/events`, {
      ...{ agent, headers: { authorization: `Bearer ${token}` } },
    });
    outgoing.end();
    const [response] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer>];
    news.#read(response).catch(() => news.#done());
    return news;
  }

  /** Resolves when so many desired statuses are acknowledged. */
  of(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = count;
      this.#done = resolve;
      this.#look();
    });
  }

  stop(): void {
    this.#agent.destroy();
  }

  async #read(response: AsyncIterable<Buffer>): Promise<void> {
    let rest = '';
    for await (const chunk of response) {
      const lines = (rest + chunk.toString()).split('\n\n');
      rest = lines.pop()!;
      this.#count += lines.filter((event) => /^event: acknowledged\n.*"desiredStatus"/s.test(event)).length;
      this.#look();
    }
  }

  #look(): void {
    if (this.#count >= this.#wanted) this.#done();
  }
}

async function inParallel<T>(all: readonly T[], parallel: number, work: (one: T) => Promise<void>): Promise<void> {
  const queue = all.values();
  const worker = async () => {
    for (const one of queue) await work(one);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

async function bounded<T>(what: string, patienceMs: number, work: Promise<T>): Promise<T> {
  const abort = new AbortController();
  const late = sleep(patienceMs, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`timeout: ${what} took more than ${patienceMs} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    abort.abort();
    late.catch(() => undefined);
  }
}

/** Bytes that a process has in memory, the least of a while: garbage comes and goes. */
async function leastMemory(child: ChildProcess, watchMs: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  const end = performance.now() + watchMs;
  do {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
    least = Math.min(least, Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024);
    await sleep(Math.min(500, watchMs));
  } while (performance.now() < end);
  return least;
}

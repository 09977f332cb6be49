import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { silentLogger } from '../../core/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { VisIdentifier } from './vis-identifier.ts';

const SUBJECTS = 'Attribute.Aos.Subjects';

/** A vehicle that answers `get` and `subscribe`, and writes down what it is asked. */
class Vehicle {
  readonly values: Record<string, unknown> = {
    'Attribute.Vehicle.VehicleIdentification.VIN': 'VIN1',
    'Attribute.Aos.UnitModel': 'car;2.0',
    [SUBJECTS]: { [SUBJECTS]: ['driver'] },
  };
  readonly asked: string[] = [];
  /** What it does with a request instead of answering; the answer is what it would have sent. */
  onRequest: ((socket: WebSocket, answer: string) => void) | undefined;
  /** Told of each ping, when it is answered. */
  onPing: (() => void) | undefined;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;

  constructor(identity: TestIdentity) {
    const key = identity.privateKey.export({ format: 'pem', type: 'pkcs8' });
    this.#server = createServer({ cert: identity.pem, key });
    this.#sockets = new WebSocketServer({ server: this.#server });
    this.#sockets.on('connection', (socket) => {
      socket.on('message', (data) => this.#answer(socket, String(data)));
      socket.on('ping', () => this.onPing?.());
    });
  }

  async listen(port = 0): Promise<number> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** Tells of new subjects. */
  notify(value: unknown): void {
    for (const socket of this.#sockets.clients) {
      socket.send(JSON.stringify({ action: 'subscription', subscriptionId: '7', value }));
    }
  }

  /** Sends texts that are no part of the protocol. */
  babble(texts: readonly string[]): void {
    for (const socket of this.#sockets.clients) for (const text of texts) socket.send(text);
  }

  /** Takes nothing any more, not even a goodbye. */
  freeze(): void {
    for (const socket of this.#sockets.clients) socket.pause();
  }

  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  async close(): Promise<void> {
    this.cut();
    this.#sockets.close();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(socket: WebSocket, text: string): void {
    const { action, requestId, path } = JSON.parse(text) as { action: string; requestId: string; path?: string };
    this.asked.push(path === undefined ? action : `${action} ${path.split('.').at(-1)}`);
    const answer =
      action === 'get' ? { action, requestId, value: this.values[path!] } : { action, requestId, subscriptionId: '7' };
    if (action === 'unsubscribeAll') return;
    if (this.onRequest) this.onRequest(socket, JSON.stringify(answer));
    else socket.send(JSON.stringify(answer));
  }
}

/** Made before a connection waits for an answer: it takes a while. */
const words = fc.constantFrom('action', 'subscription', 'subscriptionId', 'requestId', 'value', 'get', '7', SUBJECTS);
const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), words);
const messages = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.json(),
  fc.dictionary(words, value).map((message) => JSON.stringify(message)),
  // The right subscription with what is no list of subjects.
  value
    .filter((other) => !Array.isArray(other))
    .map((other) => JSON.stringify({ action: 'subscription', subscriptionId: '7', value: other })),
  fc.constantFrom(
    JSON.stringify({ action: 'subscription', subscriptionId: '7', value: ['x'.repeat(65)] }),
    JSON.stringify({ action: 'subscription', subscriptionId: '7', value: Array(257).fill('s') }),
    JSON.stringify({ action: 'subscription', subscriptionId: '8', value: ['stranger'] }),
  ),
);
/** Thousands, also without those that would be the vehicle's word for "no subjects". */
const NONSENSE = fc.sample(messages, 4000).filter((text) => !/"value":\s*\[\s*\]/.test(text));

let directory: string;
let vehicle: Vehicle;
let identifier: VisIdentifier;
let identity: TestIdentity;
let port: number;

const params = () => ({
  visServer: `wss://127.0.0.1:${port}/ignored`,
  caCertFile: join(directory, 'ca.pem'),
  webSocketTimeout: 10_000,
});

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-vis-'));
  identity = await makeCertificate('vehicle', { ca: true });
  await writeFile(join(directory, 'ca.pem'), identity.pem);
  vehicle = new Vehicle(identity);
  port = await vehicle.listen();
  identifier = new VisIdentifier(params(), silentLogger);
  await identifier.start();
});
afterEach(async () => {
  await identifier.stop();
  await vehicle.close();
  await rm(directory, { recursive: true, force: true });
});

test("[IAM-06] the VIN is the system id, model and subjects are the vehicle's", async () => {
  expect(await identifier.systemInfo()).toEqual({ systemId: 'VIN1', unitModel: 'car', version: '2.0' });
  expect(await identifier.subjects()).toEqual(['driver']);
  expect(vehicle.asked).toContain('subscribe Subjects');
});

test('[IAM-06] [IAM-07] a different list of subjects is told, an equal one is not', async () => {
  expect(await identifier.subjects()).toEqual(['driver']);
  const heard: (readonly string[])[] = [];
  const news = new Promise<void>((resolve) => {
    identifier.onSubjectsChange((subjects) => {
      heard.push(subjects);
      if (subjects.includes('guest')) resolve();
    });
  });
  vehicle.notify(['driver']);
  vehicle.notify({ [SUBJECTS]: ['driver', 'guest'] });
  await news;
  expect(heard).toEqual([['driver', 'guest']]);
  expect(await identifier.subjects()).toEqual(['driver', 'guest']);
});

test('[IAM-06] after a lost connection everything is asked anew, and what changed meanwhile is told', async () => {
  await identifier.subjects();
  await identifier.systemInfo();
  const news = new Promise<readonly string[]>((resolve) => identifier.onSubjectsChange(resolve));
  vehicle.values[SUBJECTS] = ['owner'];
  vehicle.values['Attribute.Vehicle.VehicleIdentification.VIN'] = 'VIN2';
  vehicle.cut();
  expect(await news).toEqual(['owner']);
  expect((await identifier.systemInfo()).systemId).toBe('VIN2');
});

test('[IAM-06] thousands of messages that make no sense change nothing, and the next question is answered', async () => {
  await identifier.subjects();
  const heard: (readonly string[])[] = [];
  identifier.onSubjectsChange((subjects) => heard.push(subjects));
  expect(NONSENSE.length).toBeGreaterThan(3000);
  vehicle.babble(NONSENSE);
  // Over the same connection, so after all of it.
  expect((await identifier.systemInfo()).systemId).toBe('VIN1');
  expect(await identifier.subjects()).toEqual(['driver']);
  expect(heard).toEqual([]);
  expect(vehicle.asked.filter((what) => what === 'subscribe Subjects')).toHaveLength(1);
});

test('[IAM-06] an answer that comes too late is for nobody; the next question has its own', async () => {
  const impatient = new VisIdentifier({ ...params(), webSocketTimeout: 1500 }, silentLogger);
  await impatient.start();
  try {
    await impatient.subjects();
    const late: (() => void)[] = [];
    vehicle.onRequest = (socket, answer) => {
      if (answer.includes('VIN1')) late.push(() => socket.send(answer));
      else socket.send(answer);
    };
    await expect(impatient.systemInfo()).rejects.toMatchObject({ code: 'timeout' });
    vehicle.onRequest = undefined;
    vehicle.values['Attribute.Vehicle.VehicleIdentification.VIN'] = 'VIN2';
    for (const send of late) send();
    expect((await impatient.systemInfo()).systemId).toBe('VIN2');
  } finally {
    await impatient.stop();
  }
});

test('[IAM-06] a connection that breaks between question and answer is an error at once, and mended by itself', async () => {
  await identifier.subjects();
  vehicle.onRequest = (socket) => socket.terminate();
  await expect(identifier.systemInfo()).rejects.toMatchObject({
    message: expect.stringMatching(/closed the connection/),
  });
  vehicle.onRequest = undefined;
  expect((await identifier.systemInfo()).systemId).toBe('VIN1');
});

test('[IAM-06] what the vehicle refuses, or tells in another form, is an error that names it', async () => {
  await identifier.subjects();
  vehicle.values['Attribute.Aos.UnitModel'] = 5;
  await expect(identifier.systemInfo()).rejects.toMatchObject({ message: expect.stringMatching(/UnitModel/) });
  vehicle.onRequest = (socket, answer) =>
    socket.send(JSON.stringify({ ...JSON.parse(answer), error: { number: 404, reason: 'no such path' } }));
  await expect(identifier.systemInfo()).rejects.toMatchObject({
    message: expect.stringMatching(/refuses.*no such path/),
  });
});

test('[IAM-06] a vehicle that is not the trusted one is not asked', async () => {
  const other = new Vehicle(await makeCertificate('other', { ca: true }));
  port = await other.listen();
  const misled = new VisIdentifier({ ...params(), webSocketTimeout: 300 }, silentLogger);
  await misled.start();
  await expect(misled.systemInfo()).rejects.toMatchObject({ code: 'timeout' });
  expect(other.asked).toEqual([]);
  await misled.stop();
  await other.close();
});

test('[IAM-06] [R-05] a vehicle that dies without a goodbye is noticed, and followed anew when it is back', async () => {
  const watchful = new VisIdentifier(params(), silentLogger, { pingIntervalMs: 20, deadAfterMs: 500 });
  await watchful.start();
  try {
    await watchful.subjects();
    const news = new Promise<readonly string[]>((resolve) => watchful.onSubjectsChange(resolve));
    await new Promise<void>((resolve) => {
      vehicle.onPing = resolve;
    });
    vehicle.freeze();
    vehicle.values[SUBJECTS] = ['guest'];
    expect(await news).toEqual(['guest']);
  } finally {
    await watchful.stop();
  }
});

test('[IAM-06] IAM stops without a vehicle that hears nothing any more', async () => {
  await identifier.systemInfo();
  vehicle.freeze();
  // Half of what the library would wait for its goodbye.
  await identifier.stop();
}, 15_000);

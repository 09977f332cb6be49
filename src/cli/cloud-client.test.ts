/** The operator's connection at a server that closes it at the wrong moment. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeCertificate } from '../storage/certificates-for-tests.ts';
import { CloudClient } from './cloud-client.ts';
import type { Profile } from './profile.ts';

let directory: string;
let server: Server;
let client: CloudClient;
let profile: Profile;
/** Requests as they came, and whether each is to be answered, or refused with which status and text. */
let asked: string[];
let answers: (boolean | readonly [status: number, text: string])[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'aos-client-'));
  const at = (name: string) => join(directory, name);
  const { pem, privateKey } = await makeCertificate('localhost', { dnsName: 'localhost' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(at('cert.pem'), pem);
  writeFileSync(at('key.pem'), key);
  asked = [];
  server = createServer({ cert: pem, key }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const answer = answers.shift();
    if (Array.isArray(answer)) response.writeHead(answer[0]).end(answer[1]);
    else if (answer) response.end('{}');
    else request.socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cloud = `https://localhost:${(server.address() as AddressInfo).port}`;
  profile = { cloud, ca: at('cert.pem'), cert: at('cert.pem'), key: at('key.pem') };
  client = new CloudClient(profile);
});

afterEach(async () => {
  client.close();
  server.close();
  await once(server, 'close');
  rmSync(directory, { recursive: true });
});

test('[P-02] a question on a connection that the cloud was closing is asked again', async () => {
  answers = [true, false, true];
  await client.get('/first');
  await expect(client.get('/second')).resolves.toEqual({});
  expect(asked).toEqual(['GET /first', 'GET /second', 'GET /second']);
});

test('[P-02] on a new connection it is not, and a POST never is: it may have been done', async () => {
  answers = [false, true, false];
  await expect(client.get('/first')).rejects.toThrow(/cannot reach the cloud at https:\/\/localhost.*socket hang up/);
  await client.get('/second');
  await expect(client.send('POST', '/third', {})).rejects.toThrow(/cannot reach the cloud/);
  expect(asked).toEqual(['GET /first', 'GET /second', 'POST /third']);
});

test('[P-02] a refusal begins with what a person wants to know', async () => {
  answers = [
    [404, JSON.stringify({ title: 'Not Found', detail: 'there is no unit "car"' })],
    [502, ''],
  ];
  await expect(client.get('/api/units/car')).rejects.toThrow(
    /^there is no unit "car" \(https:\/\/localhost:\d+ answered 404 to GET \/api\/units\/car\)$/,
  );
  await expect(client.get('/x')).rejects.toThrow(/^the cloud refused without a reason \(.* answered 502 to GET \/x\)$/);
});

test('[P-02] a cloud that takes connections and says nothing is given up, and nothing of the wait stays', async () => {
  const dumb = createTcpServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(dumb, 'listening');
  const cloud = `https://localhost:${(dumb.address() as AddressInfo).port}`;
  const patient = new CloudClient({ ...profile, cloud }, 200);
  try {
    const gone = once(dumb, 'connection').then(([socket]: Socket[]) => once(socket!.resume(), 'close'));
    await expect(patient.get('/first')).rejects.toThrow(/cannot reach the cloud at .*: no answer within 0.2 s/);
    await gone;
  } finally {
    patient.close();
    dumb.close();
  }
});

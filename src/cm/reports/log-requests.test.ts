import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, ERROR_CODES, silentLogger } from '../../core/index.ts';
import type { PushLog, RequestLog } from '../../protocol/index.ts';
import { makePki } from '../link/cloud-for-tests.ts';
import { RecordingLink } from '../link/recording-link-for-tests.ts';
import { Event, type LogPart, type LogRequest } from '../nodes/index.ts';
import { LogRequests, type LogRequestsOptions, logUploader } from './index.ts';

let link: RecordingLink;
let logs: Event<LogPart>;
let asked: [string, LogRequest][];
let requests: LogRequests | undefined;

beforeEach(() => {
  link = new RecordingLink();
  logs = new Event('logs', silentLogger);
  asked = [];
});

afterEach(() => requests?.stop());

const NODES = [
  { nodeId: 'node-a', attrs: { AosComponents: 'iam,sm' } },
  { nodeId: 'node-b', attrs: { AosComponents: 'iam,sm' } },
  { nodeId: 'node-c', attrs: { AosComponents: 'iam' } },
];

function open(options: Partial<LogRequestsOptions> = {}): void {
  requests = new LogRequests({
    link,
    nodes: () => NODES,
    isConnected: (nodeId) => nodeId === 'node-a',
    sendLogRequest: (nodeId, request) => void asked.push([nodeId, request]),
    onLog: logs.subscribe,
    upload: async () => {
      throw new AosError('failed', 'no upload wanted');
    },
    logger: silentLogger,
    ...options,
  });
  requests.start();
}

const request = (filter: Partial<RequestLog['filter']> = {}): RequestLog => ({
  messageType: 'requestLog',
  correlationId: 'log-1',
  logType: 'instanceLog',
  filter: { nodeIds: [{ codename: 'node-a' }], ...filter },
});

const part = (number: number, count: number, status = 'ok'): LogPart => ({
  nodeId: 'node-a',
  correlationId: 'log-1',
  part: number,
  partsCount: count,
  content: status === 'ok' ? Buffer.from(`part ${number}`) : Buffer.alloc(0),
  status,
});

const pushed = () =>
  (link.sent as PushLog[]).map(({ node, part: number, partsCount, status, errorInfo }) => [
    node.codename,
    number,
    partsCount,
    status,
    errorInfo?.aosCode ?? 0,
  ]);

describe('a request', () => {
  test('[CM-124] goes to the named nodes with its bounds and filter, and parts come back as they are', async () => {
    open();
    await link.receive(
      request({
        from: '2026-05-04T09:00:00.000000Z',
        till: '2026-05-04T10:30:00.500000Z',
        item: { id: 'i' },
        subject: { id: 's' },
        instance: 2,
      }),
    );
    expect(asked).toEqual([
      [
        'node-a',
        {
          correlationId: 'log-1',
          logType: 'instanceLog',
          filter: { itemId: 'i', subjectId: 's', instance: 2 },
          from: new Date('2026-05-04T09:00:00Z'),
          till: new Date('2026-05-04T10:30:00.500Z'),
        },
      ],
    ]);
    logs.emit(part(1, 2));
    logs.emit(part(2, 2));
    expect(link.sent).toEqual(
      [1, 2].map((number) => ({
        messageType: 'pushLog',
        correlationId: 'log-1',
        node: { codename: 'node-a' },
        part: number,
        partsCount: 2,
        content: Buffer.from(`part ${number}`).toString('base64'),
        status: 'ok',
      })),
    );
  });

  test('[CM-124] without nodes it goes to all that have a service manager', async () => {
    open({ isConnected: () => true });
    await link.receive(request({ nodeIds: [] }));
    expect(asked.map(([nodeId]) => nodeId)).toEqual(['node-a', 'node-b', 'node-c']);
  });

  test('[CM-125] a node that is unknown or away is answered for; the others are asked all the same', async () => {
    open();
    await link.receive(request({ nodeIds: ['nobody', 'node-b', 'node-a'].map((codename) => ({ codename })) }));
    expect(pushed()).toEqual([
      ['nobody', 1, 1, 'error', ERROR_CODES.notFound],
      ['node-b', 1, 1, 'error', ERROR_CODES.notFound],
    ]);
    expect(asked.map(([nodeId]) => nodeId)).toEqual(['node-a']);
  });

  test.each(['empty', 'absent'])('[CM-125] a node that has nothing says "%s"', async (status) => {
    open();
    await link.receive(request());
    logs.emit(part(1, 1, status));
    expect(pushed()).toEqual([['node-a', 1, 1, status, 0]]);
  });

  test('[CM-125] a failure comes with its text, also under the name of another schema', async () => {
    open();
    await link.receive(request());
    logs.emit({ ...part(0, 0, 'failed'), error: { aosCode: 1, exitCode: 0, message: 'journal is gone' } });
    expect(link.sent).toMatchObject([
      { part: 0, partsCount: 0, status: 'error', errorInfo: { message: 'journal is gone' } },
    ]);
  });

  test('a node that falls silent is answered for', async () => {
    open({ silentNodeMs: 10 });
    await link.receive(request());
    logs.emit(part(1, 2));
    await vi.waitFor(() => expect(pushed()).toHaveLength(2));
    expect(pushed()[1]).toEqual(['node-a', 1, 1, 'error', ERROR_CODES.timeout]);
  });

  test('a node that has said everything is not missed', async () => {
    open({ silentNodeMs: 10 });
    await link.receive(request());
    logs.emit(part(1, 1));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(pushed()).toHaveLength(1);
  });
});

describe('an upload', () => {
  let server: Server;
  let ca: string;
  let received: { method: string; token: string; part: string; body: string }[];
  let status: number;

  beforeEach(async () => {
    const { root, server: identity } = await makePki();
    ca = root.pem;
    received = [];
    status = 201;
    const key = identity.privateKey.export({ format: 'pem', type: 'pkcs8' });
    server = createServer({ cert: identity.pem, key }, (message, response) => {
      const chunks: Buffer[] = [];
      message.on('data', (chunk: Buffer) => chunks.push(chunk));
      message.on('end', () => {
        received.push({
          method: message.method ?? '',
          token: message.headers.authorization ?? '',
          part: String(message.headers['aos-part']),
          body: Buffer.concat(chunks).toString(),
        });
        response.statusCode = status;
        response.end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  const uploading = (type: string, url?: string): RequestLog => ({
    ...request(),
    uploadOptions: {
      type,
      url: url ?? `https://localhost:${(server.address() as AddressInfo).port}/put/417`,
      bearerToken: 'token',
    },
  });

  test('[CM-126] each part is put to the address with the token, and not sent', async () => {
    open({ upload: logUploader(ca) });
    await link.receive(uploading('https'));
    logs.emit(part(1, 1));
    await vi.waitFor(() =>
      expect(received).toEqual([{ method: 'PUT', token: 'Bearer token', part: '1', body: 'part 1' }]),
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(link.sent).toEqual([]);
  });

  test('[CM-126] what cannot be uploaded is sent', async () => {
    status = 403;
    open({ upload: logUploader(ca) });
    await link.receive(uploading('https'));
    logs.emit(part(1, 1));
    await vi.waitFor(() => expect(pushed()).toEqual([['node-a', 1, 1, 'ok', 0]]));
    expect(received).toHaveLength(1);
  });

  test('[CM-126] other ways of uploading are as if they were absent', async () => {
    open({ upload: logUploader(ca) });
    await link.receive(uploading('wss'));
    logs.emit(part(1, 1));
    expect(pushed()).toEqual([['node-a', 1, 1, 'ok', 0]]);
    await link.receive(uploading('https', 'http://localhost:1/'));
    logs.emit(part(1, 1));
    await vi.waitFor(() => expect(pushed()).toHaveLength(2));
    expect(received).toEqual([]);
  });
});

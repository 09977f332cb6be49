/** What tests of units need: messages of any content, links that break, receipts that do not come. */
import * as z from 'zod';
import { AosError, isObject, readDocument } from '../../core/index.ts';
import { CLOUD_TO_UNIT, type CloudMessage } from '../../protocol/index.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';
import { unitOf as unitIn } from './unit-of.ts';

const DisturbRequest = z.object({
  answer: z.enum(['nack', 'silence'], 'expected "nack" or "silence"'),
  /** Milliseconds after which the unit is to send again; for `nack`. */
  retryAfter: z.int().min(0).optional(),
  /** Only messages of this type. */
  messageType: z.string().optional(),
  count: z.int().min(1).default(1),
});

/** Bytes for the unit as they are: garbage, foreign versions, other units' messages. */
const FrameRequest = z.object({ text: z.string().max(1024 * 1024) });

const DisconnectRequest = z
  .object({
    abrupt: z.boolean().default(false),
    /** Not now, but when so many more messages have passed in both directions, receipts included; always abrupt. */
    afterMessages: z.int().min(0).optional(),
  })
  .prefault({});

/** Receipts belong to a message; they are never sent on their own. */
const RECEIPTS: ReadonlySet<string> = new Set(['ack', 'nack']);

export function testRoutes(router: Router, { database, fleet }: RestParts): void {
  const unitOf = (call: Call): Promise<string> => database.read((stores) => unitIn(stores, call));

  router.on('POST', '/api/units/:unit/messages', async (call) => {
    const body = await call.body();
    const messageType = isObject(body) ? body.messageType : undefined;
    const schema =
      typeof messageType === 'string' && Object.hasOwn(CLOUD_TO_UNIT, messageType) && !RECEIPTS.has(messageType)
        ? CLOUD_TO_UNIT[messageType as CloudMessage['messageType']]
        : undefined;
    if (!schema) throw new AosError('invalidArgument', `messageType "${messageType}" is nothing that a cloud sends`);
    const { value } = readDocument(schema, body, { what: String(messageType) });
    return { status: 202, value: { txn: await fleet.send(await unitOf(call), value) } };
  });

  router.on(
    'POST',
    '/api/units/:unit/frames',
    async (call) => {
      const value = await call.read(FrameRequest, 'the request');
      fleet.session(await unitOf(call)).sendFrame(Buffer.from(value.text));
      return { status: 202, value: {} };
    },
    FrameRequest,
  );

  router.on(
    'POST',
    '/api/units/:unit/disturb',
    async (call) => {
      const value = await call.read(DisturbRequest, 'the request');
      fleet.session(await unitOf(call)).disturb(value);
      return { status: 200, value };
    },
    DisturbRequest,
  );

  router.on(
    'POST',
    '/api/units/:unit/disconnect',
    async (call) => {
      const value = await call.read(DisconnectRequest, 'the request');
      const systemId = await unitOf(call);
      const session = fleet.session(systemId);
      if (value.afterMessages !== undefined) session.cutAfter(value.afterMessages);
      else if (value.abrupt) session.cut();
      else fleet.close(systemId, 'asked for by the operator');
      return { status: 200, value };
    },
    DisconnectRequest,
  );
}

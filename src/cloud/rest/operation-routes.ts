/** What an operator does with a unit beside deploying: configuration, nodes, environment, logs, states, certificates. */
import { randomBytes, randomUUID } from 'node:crypto';
import * as z from 'zod';
import { AosError, compareVersions, readDocument } from '../../core/index.ts';
import { MAX_STATE_BYTES, OverrideEnvVars, RequestLog, UnitConfig } from '../../protocol/index.ts';
import { wantedConfig } from '../domain/facts.ts';
import { stateChecksum } from '../store/instance-states.ts';
import { logsOf, readLog } from './log-view.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';
import { unitOf as unitIn } from './unit-of.ts';

const NodeStateRequest = z.object({
  state: z.enum(['provisioned', 'paused'], 'expected "provisioned" or "paused"'),
});
const PasswordRequest = z.object({ password: z.string().min(1).max(64).optional() }).prefault({});
const RenewRequest = z.object({ types: z.array(z.string()).min(1).optional() }).prefault({});
/** The message without its name. */
const EnvVarsRequest = OverrideEnvVars.omit({ messageType: true });
const StateRequest = z.object({ state: z.string() });

const LogRequest = z.object({
  logType: z.string(),
  from: z.string().optional(),
  till: z.string().optional(),
  nodeIds: z.array(z.string()).optional(),
  itemId: z.string().optional(),
  subjectId: z.string().optional(),
  instance: z.number().optional(),
});

/** 15 letters and digits, as provisioning tools choose them. */
function newPassword(): string {
  return randomBytes(24)
    .toString('base64')
    .replace(/[^A-Za-z0-9]/g, '')
    .slice(0, 15)
    .padEnd(15, 'x');
}

export function operationRoutes(router: Router, parts: RestParts): void {
  const { database, fleet, nodes, now } = parts;
  const unitOf = (call: Call): Promise<string> => database.read((stores) => unitIn(stores, call));

  router.on('GET', '/api/units/:unit/unit-config', async (call) => {
    const wanted = await database.read(async (stores) => wantedConfig(stores, await unitIn(stores, call)));
    if (!wanted) throw new AosError('notFound', 'no unit configuration was given');
    return { status: 200, value: wanted.config };
  });

  router.on(
    'PUT',
    '/api/units/:unit/unit-config',
    async (call) => {
      const unitConfig = await call.read(UnitConfig, 'the unit configuration');
      const systemId = await database.write(async (stores) => {
        const id = await unitIn(stores, call);
        const wishes = await stores.units.wishes(id);
        const former = wishes.unitConfig?.version;
        if (former !== undefined && compareVersions(unitConfig.version, former) <= 0) {
          throw new AosError(
            'wrongState',
            `version ${unitConfig.version} is not higher than ${former}, which is wanted now`,
          );
        }
        await stores.units.setWishes(id, { ...wishes, unitConfig });
        return id;
      });
      fleet.desiredChanged(systemId);
      return { status: 200, value: unitConfig };
    },
    UnitConfig,
  );

  router.on(
    'PUT',
    '/api/units/:unit/nodes/:node/state',
    async (call) => {
      const value = await call.read(NodeStateRequest, 'the state of the node');
      const { systemId, nodeStates } = await database.write(async (stores) => {
        const id = await unitIn(stores, call);
        const wishes = await stores.units.wishes(id);
        const states = { ...wishes.nodeStates, [call.param('node')]: value.state };
        await stores.units.setWishes(id, { ...wishes, nodeStates: states });
        return { systemId: id, nodeStates: states };
      });
      fleet.desiredChanged(systemId);
      return { status: 200, value: nodeStates };
    },
    NodeStateRequest,
  );

  router.on(
    'POST',
    '/api/units/:unit/nodes/:node/provision',
    async (call) => {
      const value = await call.read(PasswordRequest, 'the request');
      const systemId = await unitOf(call);
      const password = value.password ?? newPassword();
      await fleet.converse(systemId, (send) => nodes.start(systemId, call.param('node'), password, send));
      return { status: 202, value: {} };
    },
    PasswordRequest,
  );

  router.on('POST', '/api/units/:unit/nodes/:node/deprovision', async (call) => {
    const systemId = await unitOf(call);
    await fleet.converse(systemId, (send) => nodes.deprovision(systemId, call.param('node'), send));
    return { status: 202, value: {} };
  });

  router.on('GET', '/api/units/:unit/env-vars', async (call) => {
    const wishes = await database.read(async (stores) => stores.units.wishes(await unitIn(stores, call)));
    return { status: 200, value: { items: wishes.envVars ?? [] } };
  });

  router.on(
    'PUT',
    '/api/units/:unit/env-vars',
    async (call) => {
      const value = await call.read(EnvVarsRequest, 'the environment');
      const systemId = await database.write(async (stores) => {
        const id = await unitIn(stores, call);
        await stores.units.setWishes(id, { ...(await stores.units.wishes(id)), envVars: value.items });
        return id;
      });
      fleet.envVarsChanged(systemId);
      return { status: 200, value: { items: value.items } };
    },
    EnvVarsRequest,
  );

  router.on(
    'POST',
    '/api/units/:unit/logs',
    async (call) => {
      const value = await call.read(LogRequest, 'the request');
      const { logType, from, till, itemId, subjectId, instance } = value;
      const { systemId, picture } = await database.read(async (stores) => {
        const id = await unitIn(stores, call);
        return { systemId: id, picture: await stores.units.picture(id) };
      });
      // To 9.1 no node means none: all are named (spec/cloud-protocol.md 8.9).
      const known = (picture.nodes ?? []).map((node) => node.identity.codename);
      const correlationId = randomUUID();
      const message = {
        ...{ messageType: 'requestLog', correlationId, logType },
        filter: {
          ...(from !== undefined && { from }),
          ...(till !== undefined && { till }),
          nodeIds: (value.nodeIds ?? known).map((codename) => ({ codename })),
          ...(itemId !== undefined && { item: { id: itemId } }),
          ...(subjectId !== undefined && { subject: { id: subjectId } }),
          ...(instance !== undefined && { instance }),
        },
      };
      await fleet.send(systemId, readDocument(RequestLog, message, { what: 'the request' }).value);
      await database.write(({ logs }) => logs.addRequest(systemId, correlationId, value, now()));
      return { status: 202, value: { correlationId } };
    },
    LogRequest,
  );

  router.on('GET', '/api/units/:unit/logs', async (call) => {
    const logs = await database.read(async (stores) => logsOf(stores, await unitIn(stores, call)));
    const value = logs.map(({ nodes, ...request }) => ({
      ...request,
      nodes: nodes.map(({ text, ...log }) => ({ ...log, characters: text.length })),
    }));
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit/logs/:correlation', async (call) => {
    const correlationId = call.param('correlation');
    const log = await database.read(async (stores) => stores.logs.parts(await unitIn(stores, call), correlationId));
    return { status: 200, value: readLog(log) };
  });

  router.on('GET', '/api/units/:unit/states', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => stores.states.list(await unitIn(stores, call))),
  }));

  router.on(
    'PUT',
    '/api/units/:unit/states/:item/:subject/:instance',
    async (call) => {
      const value = await call.read(StateRequest, 'the state');
      const { state } = value;
      if (Buffer.byteLength(state) > MAX_STATE_BYTES) {
        throw new AosError('outOfRange', `the state has more than ${MAX_STATE_BYTES} bytes`);
      }
      const systemId = await unitOf(call);
      const name = {
        itemId: call.param('item'),
        subjectId: call.param('subject'),
        instance: readIndex(call.param('instance')),
      };
      const checksum = stateChecksum(state);
      // A unit that is offline asks for it when it sets the instance up.
      await fleet.writeAndTell(
        systemId,
        () => database.write(({ states }) => states.put(systemId, name, state, now())),
        () => ({
          messageType: 'updateState',
          ...{ item: { id: name.itemId }, subject: { id: name.subjectId }, instance: name.instance },
          ...{ stateChecksum: checksum, state },
        }),
      );
      return { status: 200, value: { ...name, checksum } };
    },
    StateRequest,
  );

  router.on('GET', '/api/units/:unit/certificates', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => stores.certificates.ofUnit(await unitIn(stores, call))),
  }));

  router.on(
    'POST',
    '/api/units/:unit/certificates/renew',
    async (call) => {
      const value = await call.read(RenewRequest, 'the request');
      const systemId = await unitOf(call);
      const certificates = await fleet.converse(systemId, (send) => nodes.renew(systemId, value.types, send));
      return { status: 202, value: { certificates } };
    },
    RenewRequest,
  );
}

function readIndex(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new AosError('invalidArgument', `the index of the instance: expected a whole number, found "${text}"`);
}

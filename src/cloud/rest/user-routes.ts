/** People and programs: who they are, how they get in, and what they have changed. */
import * as z from 'zod';
import { AosError, readDocument } from '../../core/index.ts';
import { ROLES } from '../access/roles.ts';
import { FIRST_USER } from '../store/users.ts';
import { readLimit } from './limits.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';

const Name = z.string().min(1).max(64);
const UserRequest = z.object({
  role: z.enum(ROLES, `expected one of ${ROLES.join(', ')}`),
  /** Owner of items of a service provider, fleet of a fleet owner. */
  scope: z.string().max(64).default(''),
});
const TokenRequest = z.object({ days: z.int().min(1).max(3650).default(90) }).prefault({});
const NEWEST = Number.MAX_SAFE_INTEGER;
const DAY_MS = 86_400_000;
/** Long enough to copy an address from a terminal into a browser. */
const LOGIN_LIFETIME_MS = 10 * 60_000;

export function userRoutes(router: Router, parts: RestParts): void {
  const { authority, database, access, now, restUrl } = parts;

  router.on('GET', '/api/me', ({ actor: { name, role, scope } }) => ({ status: 200, value: { name, role, scope } }));

  router.on('POST', '/api/login-tokens', async ({ actor }) => {
    const token = await database.write(({ users }) => users.newToken(actor.name, 'login', LOGIN_LIFETIME_MS, now()));
    const expiresAt = new Date(now().getTime() + LOGIN_LIFETIME_MS).toISOString();
    return { status: 201, value: { url: `${restUrl()}/login?token=${token}`, expiresAt } };
  });

  router.on('GET', '/api/users', async () => ({
    status: 200,
    value: await database.read(({ users }) => users.list()),
  }));

  router.on(
    'PUT',
    '/api/users/:user',
    async (call) => {
      const value = await call.read(UserRequest, 'the user');
      const { value: name } = readDocument(Name, call.param('user'), { what: 'the name of the user' });
      if (value.role !== 'oem' && value.scope === '') {
        const what = value.role === 'fleetOwner' ? 'the fleet that is theirs' : 'the owner whose items they publish';
        throw new AosError('invalidArgument', `scope: a ${value.role} needs ${what}`);
      }
      if (name === FIRST_USER && value.role !== 'oem') {
        throw new AosError('wrongState', `${FIRST_USER} stays an OEM: it is the way in when all others are lost`);
      }
      const { former, user } = await database.write(async ({ users }) => {
        const known = await users.find(name);
        await users.put(name, value.role, value.role === 'oem' ? '' : value.scope, now());
        return { former: known, user: await users.get(name) };
      });
      access.publish();
      return { status: former ? 200 : 201, value: user };
    },
    UserRequest,
  );

  router.on('DELETE', '/api/users/:user', async (call) => {
    await database.write(async ({ certificates, users }) => {
      const { name } = await users.get(call.param('user'));
      if (name === FIRST_USER) throw new AosError('wrongState', `${FIRST_USER} cannot be deleted`);
      await certificates.revokeOfUser(name, now());
      await users.delete(name);
    });
    access.publish();
    return { status: 204 };
  });

  router.on('POST', '/api/users/:user/certificates', async (call) => {
    const { name, role } = await database.read(({ users }) => users.get(call.param('user')));
    const issued = await authority.issueForUser(name, role);
    const { fingerprint, serial } = issued;
    await database.write(async ({ certificates, users }) => {
      // Signing took time: of a user that is gone meanwhile no certificate must be left.
      await users.get(name);
      await certificates.addOperator(fingerprint, serial, issued.notAfter, now(), name);
    });
    const { chain, key, notAfter } = issued;
    return { status: 201, value: { certificate: chain, key, ca: authority.rootPem, notAfter: notAfter.toISOString() } };
  });

  router.on(
    'POST',
    '/api/users/:user/tokens',
    async (call) => {
      const value = await call.read(TokenRequest, 'the request');
      const lifetimeMs = value.days * DAY_MS;
      const token = await database.write(async ({ users }) => {
        const { name } = await users.get(call.param('user'));
        return users.newToken(name, 'bearer', lifetimeMs, now());
      });
      // The oldest may have gone for it.
      access.publish();
      return { status: 201, value: { token, expiresAt: new Date(now().getTime() + lifetimeMs).toISOString() } };
    },
    TokenRequest,
  );

  router.on('GET', '/api/audit', async (call) => {
    const limit = readLimit(call, 100, 10_000);
    const before = Number(call.query('before') ?? NEWEST);
    const value = await database.read(({ history }) => history.changes(limit, before, call.query('user')));
    return { status: 200, value };
  });
}

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
  const { authority, stores, now, restUrl } = parts;
  const { users, certificates } = stores;

  router.on('GET', '/api/me', ({ actor: { name, role, scope } }) => ({ status: 200, value: { name, role, scope } }));

  router.on('POST', '/api/login-tokens', ({ actor }) => {
    const token = users.newToken(actor.name, 'login', LOGIN_LIFETIME_MS, now());
    const expiresAt = new Date(now().getTime() + LOGIN_LIFETIME_MS).toISOString();
    return { status: 201, value: { url: `${restUrl()}/login?token=${token}`, expiresAt } };
  });

  router.on('GET', '/api/users', () => ({ status: 200, value: users.list() }));

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
      const former = users.find(name);
      users.put(name, value.role, value.role === 'oem' ? '' : value.scope, now());
      return { status: former ? 200 : 201, value: users.get(name) };
    },
    UserRequest,
  );

  router.on('DELETE', '/api/users/:user', (call) => {
    const { name } = users.get(call.param('user'));
    if (name === FIRST_USER) throw new AosError('wrongState', `${FIRST_USER} cannot be deleted`);
    certificates.revokeOfUser(name, now());
    users.delete(name);
    return { status: 204 };
  });

  router.on('POST', '/api/users/:user/certificates', async (call) => {
    const { name, role } = users.get(call.param('user'));
    const issued = await authority.issueForUser(name, role);
    certificates.addOperator(issued.fingerprint, issued.serial, issued.notAfter, now(), name);
    const { chain, key, notAfter } = issued;
    return { status: 201, value: { certificate: chain, key, ca: authority.rootPem, notAfter: notAfter.toISOString() } };
  });

  router.on(
    'POST',
    '/api/users/:user/tokens',
    async (call) => {
      const value = await call.read(TokenRequest, 'the request');
      const { name } = users.get(call.param('user'));
      const lifetimeMs = value.days * DAY_MS;
      const token = users.newToken(name, 'bearer', lifetimeMs, now());
      return { status: 201, value: { token, expiresAt: new Date(now().getTime() + lifetimeMs).toISOString() } };
    },
    TokenRequest,
  );

  router.on('GET', '/api/audit', (call) => ({
    status: 200,
    value: stores.history.changes(
      readLimit(call, 100, 10_000),
      Number(call.query('before') ?? NEWEST),
      call.query('user'),
    ),
  }));
}

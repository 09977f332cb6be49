/**
 * Who may do what: every call of the REST interface with the roles that it is open to. A call that is not listed does
 * not exist. Units in a path are further limited to those that the caller sees (`seesFleet`).
 */
import type { Role } from './roles.ts';

export type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';

export interface AccessRow {
  readonly method: Method;
  readonly pattern: string;
  readonly roles: readonly Role[];
}

const OEM = ['oem'] as const;
/** Those who operate units. */
const OPERATORS = ['oem', 'fleetOwner'] as const;
/** Those who bring items. */
const PUBLISHERS = ['oem', 'serviceProvider'] as const;
const EVERYBODY = ['oem', 'serviceProvider', 'fleetOwner'] as const;

const rows = (roles: readonly Role[], ...calls: readonly string[]): AccessRow[] =>
  calls.map((call) => {
    const [method, pattern] = call.split(' ') as [Method, string];
    return { method, pattern, roles };
  });

export const ACCESS: readonly AccessRow[] = [
  // What provisioning tools ask for.
  ...['v10', 'v11'].flatMap((version) => [
    ...rows(EVERYBODY, `GET /api/${version}/users/me`),
    ...rows(
      OEM,
      `GET /api/${version}/units/provisioning/supported-software`,
      `GET /api/${version}/units`,
      `POST /api/${version}/units/provisioning`,
    ),
  ]),
  // Units.
  ...rows(
    OPERATORS,
    'GET /api/units',
    'GET /api/events',
    'GET /api/units/:unit',
    'GET /api/units/:unit/events',
    'GET /api/units/:unit/history',
    'GET /api/units/:unit/messages',
    'GET /api/units/:unit/wanted',
    'GET /api/units/:unit/deployments',
    'PUT /api/units/:unit/deployments/:item',
    'DELETE /api/units/:unit/deployments/:item',
    'POST /api/units/:unit/deployments/:item/rollback',
    'GET /api/units/:unit/unit-config',
    'PUT /api/units/:unit/nodes/:node/state',
    'GET /api/units/:unit/env-vars',
    'PUT /api/units/:unit/env-vars',
    'GET /api/units/:unit/monitoring',
    'GET /api/units/:unit/alerts',
    'GET /api/units/:unit/logs',
    'POST /api/units/:unit/logs',
    'GET /api/units/:unit/logs/:correlation',
    'GET /api/units/:unit/certificates',
    'POST /api/units/:unit/certificates/renew',
    'GET /api/certificates',
    'POST /api/units/:unit/resend',
  ),
  ...rows(
    OEM,
    'DELETE /api/units/:unit',
    'POST /api/units/:unit/reset',
    'PUT /api/units/:unit/fleet',
    'PUT /api/units/:unit/unit-config',
    'POST /api/units/:unit/nodes/:node/provision',
    'POST /api/units/:unit/nodes/:node/deprovision',
    // States of instances are data of their users.
    'GET /api/units/:unit/states',
    'PUT /api/units/:unit/states/:item/:subject/:instance',
    'GET /api/unit-configs',
    'PUT /api/unit-configs/:target',
    'DELETE /api/unit-configs/:target',
  ),
  // Items.
  ...rows(EVERYBODY, 'GET /api/items', 'GET /api/items/:id'),
  ...rows(
    PUBLISHERS,
    'PUT /api/items/:id/:version',
    'DELETE /api/items/:id/:version',
    'HEAD /api/blobs/:digest',
    'PUT /api/blobs/:digest',
  ),
  ...rows(OEM, 'PUT /api/items/:id/:version/verification'),
  // Sets, subjects, campaigns.
  ...rows(
    OPERATORS,
    'GET /api/unit-sets',
    'PUT /api/unit-sets/:set',
    'DELETE /api/unit-sets/:set',
    'GET /api/subjects',
    'GET /api/subjects/:subject',
    'PUT /api/subjects/:subject',
    'DELETE /api/subjects/:subject',
    'PUT /api/subjects/:subject/units/:unit',
    'DELETE /api/subjects/:subject/units/:unit',
    'PUT /api/subjects/:subject/items/:item',
    'DELETE /api/subjects/:subject/items/:item',
    'GET /api/campaigns',
    'GET /api/campaigns/:campaign',
    'POST /api/campaigns',
    'POST /api/campaigns/:campaign/advance',
    'POST /api/campaigns/:campaign/stop',
    'POST /api/bundles',
  ),
  // People.
  ...rows(EVERYBODY, 'GET /api/openapi.json', 'GET /api/me', 'POST /api/login-tokens'),
  ...rows(OEM, 'GET /api/users', 'PUT /api/users/:user', 'DELETE /api/users/:user', 'GET /api/audit'),
  ...rows(OEM, 'POST /api/users/:user/certificates', 'POST /api/users/:user/tokens'),
  // Tests of units.
  ...rows(
    OEM,
    'POST /api/units/:unit/messages',
    'POST /api/units/:unit/frames',

    'POST /api/units/:unit/disturb',
    'POST /api/units/:unit/disconnect',
  ),
];

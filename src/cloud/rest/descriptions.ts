/**
 * What each call of the REST interface is for, and what its query may hold. The router lets through only what is said
 * here; the description that is served (`open-api.ts`) is made from the same.
 */
import * as z from 'zod';

export interface CallDescription {
  readonly summary: string;
  readonly query?: Readonly<Record<string, z.ZodType>>;
  /** The answer is a stream of server-sent events. */
  readonly isStream?: boolean;
  /** The answer is this, not JSON. */
  readonly answer?: string;
  /** The body is bytes, or JSON of any shape. */
  readonly body?: 'bytes' | 'any';
}

const count = (most: number) => {
  const message = `expected a number from 1 to ${most}`;
  return z.coerce.number(message).int(message).min(1, message).max(most, message);
};
const Text = z.string().max(128, 'expected at most 128 characters');
const Moment = z.string().max(64).describe('a time like 2026-01-31T12:00:00Z, or a duration before now like 1h');
const Flag = z.enum(['true', 'false'], 'expected true or false');
const PAGE = {
  limit: count(10_000).describe('how many; all when absent. The header Link leads to the next page.'),
  after: z.string().max(512).describe('the key of the last one of the page before'),
};

const call = (summary: string, query?: CallDescription['query']): CallDescription => ({
  summary,
  ...(query && { query }),
});

const provisioning = (version: string): Readonly<Record<string, CallDescription>> => ({
  [`GET /api/${version}/users/me`]: call('Who asks, for provisioning tools'),
  [`GET /api/${version}/units/provisioning/supported-software`]: call('Provisioning tools that are recent enough'),
  [`GET /api/${version}/units`]: call('Units, for provisioning tools', { system_uid: Text }),
  [`POST /api/${version}/units/provisioning`]: call('Registers a unit and signs its certificates'),
});

export const DESCRIPTIONS: Readonly<Record<string, CallDescription>> = {
  ...provisioning('v10'),
  ...provisioning('v11'),
  'GET /api/openapi.json': call('This description'),

  'GET /api/units': call('Units with what they report of themselves', {
    ...PAGE,
    online: Flag,
    fleet: Text,
    model: Text,
    q: Text.describe('part of the system id'),
  }),
  'GET /api/events': { summary: 'News of all units', isStream: true },
  'GET /api/units/:unit': call('One unit'),
  'DELETE /api/units/:unit': call('Revokes the certificates of a unit and forgets it'),
  'POST /api/units/:unit/reset': call('Revokes the certificates of a unit, and takes its next registration'),
  'PUT /api/units/:unit/fleet': call('Gives a unit to a fleet'),
  'GET /api/units/:unit/events': { summary: 'News of a unit', isStream: true },
  'GET /api/units/:unit/history': call('What has happened, the newest first', { limit: count(500) }),
  'GET /api/units/:unit/messages': call('The last messages of the link, without secrets', {
    limit: count(10_000),
    type: Text,
  }),
  'GET /api/units/:unit/wanted': call('What is wanted on a unit, and why'),
  'GET /api/units/:unit/deployments': call('Items that are deployed on this very unit'),
  'PUT /api/units/:unit/deployments/:item': call('Deploys or changes an item'),
  'DELETE /api/units/:unit/deployments/:item': call('Takes an item away'),
  'POST /api/units/:unit/deployments/:item/rollback': call('Brings back the version before'),
  'GET /api/units/:unit/unit-config': call('The wanted unit configuration'),
  'PUT /api/units/:unit/unit-config': call('Wants a unit configuration; its version rises'),
  'PUT /api/units/:unit/nodes/:node/state': call('Pauses or resumes a node'),
  'POST /api/units/:unit/nodes/:node/provision': call('Takes a node in'),
  'POST /api/units/:unit/nodes/:node/deprovision': call('Takes a node out'),
  'GET /api/units/:unit/env-vars': call('Overrides of environment variables'),
  'PUT /api/units/:unit/env-vars': call('Replaces all overrides of environment variables'),
  'GET /api/units/:unit/monitoring': call('Measurements, as many points as a chart needs', {
    from: Moment,
    till: Moment,
    points: z.coerce
      .number('expected a number from 2 to 5000')
      .int('expected a number from 2 to 5000')
      .min(2, 'expected a number from 2 to 5000')
      .max(5000, 'expected a number from 2 to 5000'),
    series: z.string().max(256),
  }),
  'GET /api/units/:unit/alerts': call('Alerts, the newest first', {
    ...{ limit: count(5000), from: Moment, till: Moment, tag: Text },
  }),
  'GET /api/units/:unit/logs': call('Logs that were asked for'),
  'POST /api/units/:unit/logs': call('Asks for a log'),
  'GET /api/units/:unit/logs/:correlation': call('The log that has come'),
  'GET /api/units/:unit/certificates': call('Certificates of a unit'),
  'POST /api/units/:unit/certificates/renew': call('Lets a unit renew certificates now'),
  'GET /api/certificates': call('Certificates in use that end first', {
    endingWithinDays: z.coerce
      .number('expected a number')
      .min(0, 'expected a number')
      .max(36_500, 'expected at most 36500'),
  }),
  'GET /api/units/:unit/states': call('States of instances'),
  'PUT /api/units/:unit/states/:item/:subject/:instance': call('Sets the state of an instance'),
  'GET /api/unit-configs': call('Unit configurations of models and unit sets'),
  'PUT /api/unit-configs/:target': call('Wants a configuration for all units of model:<name> or set:<unit set>'),
  'DELETE /api/unit-configs/:target': call('Withdraws the configuration of a target'),

  'GET /api/items': call('Published items', { ...PAGE, q: Text.describe('part of the id') }),
  'GET /api/items/:id': call('Versions of an item'),
  'PUT /api/items/:id/:version': call('Publishes a version that consists of uploaded blobs'),
  'DELETE /api/items/:id/:version': call('Removes a version that nobody has'),
  'PUT /api/items/:id/:version/verification': call('Judges a version'),
  'HEAD /api/blobs/:digest': call('Whether a blob was uploaded'),
  'PUT /api/blobs/:digest': { summary: 'Uploads a blob', body: 'bytes' },

  'GET /api/unit-sets': call('Groups of units', PAGE),
  'PUT /api/unit-sets/:set': call('Makes or changes a group of units'),
  'DELETE /api/unit-sets/:set': call('Removes a group of units'),
  'GET /api/subjects': call('Subjects with their units and items', PAGE),
  'GET /api/subjects/:subject': call('One subject'),
  'PUT /api/subjects/:subject': call('Makes or changes a subject'),
  'DELETE /api/subjects/:subject': call('Removes a subject'),
  'PUT /api/subjects/:subject/units/:unit': call('Assigns a subject to a unit'),
  'DELETE /api/subjects/:subject/units/:unit': call('Withdraws a subject from a unit'),
  'PUT /api/subjects/:subject/items/:item': call('Subscribes a subject to an item'),
  'DELETE /api/subjects/:subject/items/:item': call('Ends a subscription'),
  'GET /api/campaigns': call('Campaigns, the newest first', { state: z.enum(['running', 'stopped', 'completed']) }),
  'GET /api/campaigns/:campaign': call('What a campaign did, and where it stands'),
  'POST /api/campaigns': call('Brings a version to one unit set after the other'),
  'POST /api/campaigns/:campaign/advance': call('Begins the next stage now'),
  'POST /api/campaigns/:campaign/stop': call('Stops a campaign; units keep what they have'),
  'POST /api/bundles': {
    summary: 'What units are to become and the blobs for it, signed, in a file for "aosctl apply"',
    answer: 'application/x-tar',
  },

  'GET /api/me': call('Who asks'),
  'POST /api/login-tokens': call('An address that lets one browser in, once'),
  'GET /api/users': call('People and programs'),
  'PUT /api/users/:user': call('Adds or changes a person or program'),
  'DELETE /api/users/:user': call('Removes a person or program, with all certificates and tokens'),
  'POST /api/users/:user/certificates': call('Issues a certificate with its key'),
  'POST /api/users/:user/tokens': call('Issues a bearer token'),
  'GET /api/audit': call('Who has changed what and why, the newest first', {
    limit: count(10_000),
    before: count(Number.MAX_SAFE_INTEGER).describe('the id of the last one of the page before'),
    user: Text,
  }),

  'POST /api/units/:unit/resend': call('Sends the desired status again'),
  'POST /api/units/:unit/messages': { summary: 'Sends any message of a cloud', body: 'any' },
  'POST /api/units/:unit/frames': call('Sends bytes as they are'),
  'POST /api/units/:unit/disturb': call('Answers the next messages wrongly, or not at all'),
  'POST /api/units/:unit/disconnect': call('Ends the connection of a unit, now or after some messages'),
};

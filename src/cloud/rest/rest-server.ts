/** The REST interface: people and programs that this cloud knows, and nobody else. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { asAosError } from '../../core/index.ts';
import { ACCESS } from '../access/access-table.ts';
import { type Caller, seesFleet } from '../access/roles.ts';
import { sendJson, sendProblem, sendTooMany, statusOf } from '../http/problem.ts';
import { RateLimiter } from '../http/rate-limiter.ts';
import { actorOf } from './authenticate.ts';
import { bundleRoutes } from './bundle-routes.ts';
import { campaignRoutes } from './campaign-routes.ts';
import { deploymentRoutes } from './deployment-routes.ts';
import { DESCRIPTIONS } from './descriptions.ts';
import { fleetRoutes } from './fleet-routes.ts';
import { itemRoutes } from './item-routes.ts';
import { observationRoutes } from './observation-routes.ts';
import { describeApi } from './open-api.ts';
import { operationRoutes } from './operation-routes.ts';
import type { RestParts } from './parts.ts';
import { provisioningRoutes } from './provisioning-routes.ts';
import { Router } from './router.ts';
import { testRoutes } from './test-routes.ts';
import { unitRoutes } from './unit-routes.ts';
import { userRoutes } from './user-routes.ts';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);
const MAX_WHY = 256;

/** What somebody with a browser sees, on the same port. */
export interface Pages {
  /** Answers everything that is not below `/api/`. */
  show(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** For whoever asked for a page and cannot even be recognised now. */
  sendFault(response: ServerResponse, status: number, message: string): void;
}

/** Answers calls below `/api/`, and leaves the rest to the pages. One limit of requests is for both. */
export function restListener(parts: RestParts, pages: Pages): RequestListener {
  const { database } = parts;
  const router = new Router(ACCESS, DESCRIPTIONS, async (actor, systemId) => {
    const unit = await database.read(({ units }) => units.find(systemId));
    // Of a unit that is not there the handler tells.
    return unit === undefined || seesFleet(actor, unit.fleet);
  });
  provisioningRoutes(router, parts);
  unitRoutes(router, parts);
  deploymentRoutes(router, parts);
  operationRoutes(router, parts);
  observationRoutes(router, parts);
  itemRoutes(router, parts);
  fleetRoutes(router, parts);
  campaignRoutes(router, parts);
  userRoutes(router, parts);
  bundleRoutes(router, parts);
  testRoutes(router, parts);
  let description: unknown;
  router.on('GET', '/api/openapi.json', () => {
    description ??= describeApi(router.operations);
    return { status: 200, value: description };
  });
  const limiter = new RateLimiter(parts.rateLimit);
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const actor = await actorOf(request, database, parts.now());
    const caller = actor ? `user ${actor.name}` : `address ${request.socket.remoteAddress}`;
    const seconds = limiter.secondsToWait(caller, performance.now());
    if (seconds > 0) return sendTooMany(request, response, seconds);
    await (isCall(request) ? answer(parts, router, actor, request, response) : pages.show(request, response));
  };
  return (request, response) => {
    serve(request, response).catch((error) => {
      const aos = asAosError(error);
      const status = statusOf(aos);
      const { method, url } = request;
      if (status >= 500) parts.logger.error({ method, url, error: aos.message }, 'a request failed');
      else parts.logger.debug({ method, url, status, error: aos.message }, 'a request is refused');
      // What is left of a refused upload is not read: the connection ends with the answer.
      if (!request.complete) response.setHeader('connection', 'close');
      if (isCall(request)) sendProblem(response, status, aos.message);
      else pages.sendFault(response, status, aos.message);
    });
  };
}

const isCall = ({ url = '' }: IncomingMessage): boolean => url.startsWith('/api/');

async function answer(
  parts: RestParts,
  router: Router,
  actor: Caller | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { database, now } = parts;
  if (!actor) {
    const isNobody = !('authorized' in request.socket && request.socket.authorized);
    sendProblem(
      ...([response, isNobody ? 401 : 403] as const),
      'this is no certificate or token of a person of this cloud, or it was revoked or has expired',
    );
    return;
  }
  const reply = await router.route(request, response, actor);
  const { method = '', url = '', headers } = request;
  if (!READING.has(method) && !isUpload(url)) {
    const why = readable(headers['x-aos-reason']);
    await database.write(({ history }) => history.addChange(actor, method, pathOf(url), why.slice(0, MAX_WHY), now()));
  }
  if (!reply) return;
  if (reply.value === undefined) response.writeHead(reply.status).end();
  else sendJson(response, reply.status, reply.value);
}

/** A reason as it was meant: with letters that a header does not take as they are. */
function readable(header: string | string[] | undefined): string {
  if (typeof header !== 'string') return '';
  try {
    return decodeURIComponent(header);
  } catch {
    // It was not encoded: "100 % of the fleet".
    return header;
  }
}

/** Only the path is remembered: a query may hold what is secret. */
const pathOf = (url: string): string => url.split('?')[0]!;

/** Blobs mean nothing until an item consists of them. */
const isUpload = (url: string): boolean => url.startsWith('/api/blobs/');

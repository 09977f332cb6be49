/**
 * Finds the handler of a request by method and path; a `:name` in a pattern stands for one part. Lets in only those
 * whom the table of access names.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { z } from 'zod';
import { AosError, parseJson, readDocument } from '../../core/index.ts';
import type { AccessRow, Method } from '../access/access-table.ts';
import type { Actor, Caller } from '../access/roles.ts';
import { readBody } from '../http/server.ts';
import type { CallDescription } from './descriptions.ts';

const MAX_JSON_BYTES = 8 * 1024 * 1024;

export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly actor: Caller;
  /** Throws `invalidArgument` when the pattern has no such name. */
  param(name: string): string;
  /** Fits its description. Throws `wrongState` for a name that is not described. */
  query(name: string): string | undefined;
  /** The JSON body, undefined when there is none. */
  body(): Promise<unknown>;
  /** The body by the schema that the route was made with; no body is an empty one. Throws `invalidArgument`. */
  read<S extends z.ZodType>(schema: S, what: string): Promise<z.output<S>>;
}

/** What a handler answers; undefined when it has answered itself. */
export interface Reply {
  readonly status: number;
  readonly value?: unknown;
}

export type Handler = (call: Call) => Promise<Reply | undefined> | Reply | undefined;

/** A call as it is described to others. */
export interface Operation extends AccessRow {
  readonly description: CallDescription;
  readonly body: z.ZodType | undefined;
}

interface Route extends Operation {
  readonly parts: readonly string[];
  readonly handler: Handler;
}

const split = (path: string) => path.split('/').filter((part) => part !== '');

export class Router {
  readonly #routes: Route[] = [];
  readonly #access: readonly AccessRow[];
  readonly #descriptions: Readonly<Record<string, CallDescription>>;
  readonly #seesUnit: (actor: Actor, systemId: string) => Promise<boolean>;

  constructor(
    access: readonly AccessRow[],
    descriptions: Readonly<Record<string, CallDescription>>,
    seesUnit: (actor: Actor, systemId: string) => Promise<boolean>,
  ) {
    this.#access = access;
    this.#descriptions = descriptions;
    this.#seesUnit = seesUnit;
  }

  get operations(): readonly Operation[] {
    return this.#routes;
  }

  /** Throws `wrongState` for a call that the table of access does not name, or that is not described. */
  on(method: Method, pattern: string, handler: Handler, body?: z.ZodType): this {
    const row = this.#access.find((entry) => entry.method === method && entry.pattern === pattern);
    const description = this.#descriptions[`${method} ${pattern}`];
    if (!row) throw new AosError('wrongState', `${method} ${pattern} is not in the table of access`);
    if (!description) throw new AosError('wrongState', `${method} ${pattern} is not described`);
    this.#routes.push({ ...row, description, body, parts: split(pattern), handler });
    return this;
  }

  /**
   * Throws `notFound` for a path that nobody answers and for a unit that the caller does not see, `notSupported` for a
   * method that the path does not take, and what becomes status 403 for a role that may not.
   */
  async route(request: IncomingMessage, response: ServerResponse, actor: Caller): Promise<Reply | undefined> {
    const url = new URL(request.url ?? '/', 'https://cloud');
    const parts = split(url.pathname);
    const candidates = this.#routes.filter((route) => matches(route.parts, parts));
    if (candidates.length === 0) throw new AosError('notFound', `there is nothing at ${url.pathname}`);
    const route = candidates.find(({ method }) => method === request.method);
    if (!route) {
      const methods = [...new Set(candidates.map(({ method }) => method))].join(', ');
      throw new AosError('notSupported', `${url.pathname} takes ${methods}`);
    }
    if (!route.roles.includes(actor.role)) {
      throw new AosError('failed', `${actor.name} is ${actor.role}; this is for ${route.roles.join(', ')}`, {
        fields: { status: 403 },
      });
    }
    const call = new RoutedCall({ request, response, actor, route, parts, url });
    call.checkQuery();
    if (route.parts.includes(':unit') && !(await this.#seesUnit(actor, call.param('unit')))) {
      throw new AosError('notFound', `there is no unit "${call.param('unit')}"; "aosctl units" lists all`);
    }
    return route.handler(call);
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return (
    pattern.length === parts.length && pattern.every((part, index) => part.startsWith(':') || part === parts[index])
  );
}

interface CallParts {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly actor: Caller;
  readonly route: Route;
  readonly parts: readonly string[];
  readonly url: URL;
}

class RoutedCall implements Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly actor: Caller;
  readonly #parts: CallParts;

  constructor(parts: CallParts) {
    this.request = parts.request;
    this.response = parts.response;
    this.actor = parts.actor;
    this.#parts = parts;
  }

  param(name: string): string {
    const { route, parts } = this.#parts;
    const part = parts[route.parts.indexOf(`:${name}`)];
    if (part === undefined) throw new AosError('invalidArgument', `the path has no part "${name}"`);
    try {
      return decodeURIComponent(part);
    } catch (error) {
      throw new AosError('invalidArgument', `"${part}" in the path is not encoded as it should be`, { cause: error });
    }
  }

  /** Throws `invalidArgument` for a value that does not fit its description. */
  checkQuery(): void {
    for (const [name, schema] of Object.entries(this.#parts.route.description.query ?? {})) {
      const value = this.#parts.url.searchParams.get(name);
      const result = value === null ? undefined : schema.safeParse(value);
      if (result?.success === false) {
        throw new AosError('invalidArgument', `${name}: ${result.error.issues[0]!.message}, found "${value}"`);
      }
    }
  }

  query(name: string): string | undefined {
    if (!Object.hasOwn(this.#parts.route.description.query ?? {}, name)) {
      throw new AosError('wrongState', `"${name}" is not described for ${this.#parts.route.pattern}`);
    }
    return this.#parts.url.searchParams.get(name) ?? undefined;
  }

  async body(): Promise<unknown> {
    const text = await readBody(this.request, MAX_JSON_BYTES);
    return text === '' ? undefined : parseJson(text, 'the request');
  }

  async read<S extends z.ZodType>(schema: S, what: string): Promise<z.output<S>> {
    if (this.#parts.route.body !== schema) {
      throw new AosError('wrongState', `the body of ${this.#parts.route.pattern} is described by another schema`);
    }
    return readDocument(schema, (await this.body()) ?? {}, { what }).value;
  }
}

/** The REST interface in OpenAPI 3.1, made from what the router checks requests by. */
import * as z from 'zod';
import type { Operation } from './router.ts';

/** A JSON Schema; `io` says whether of what is given or of what is read from it. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const { $schema: _, ...shape } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return shape;
}

const PROBLEM = {
  type: 'object',
  required: ['title', 'status', 'detail'],
  properties: { title: { type: 'string' }, status: { type: 'integer' }, detail: { type: 'string' } },
};
const refusal = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
});

export function describeApi(operations: readonly Operation[]): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const path = operation.pattern.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describeOperation(operation) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'aos-cloud', version: '1' },
    security: [{ certificate: [] }, { token: [] }],
    paths,
    components: {
      schemas: { Problem: PROBLEM },
      securitySchemes: { certificate: { type: 'mutualTLS' }, token: { type: 'http', scheme: 'bearer' } },
    },
  };
}

function describeOperation({ method, pattern, roles, body, description }: Operation): unknown {
  const { summary, query = {}, isStream, answer = 'application/json' } = description;
  const names = [...pattern.matchAll(/:(\w+)/g)].map((match) => match[1]!);
  return {
    operationId: `${method.toLowerCase()}${pattern.replace(/^\/api/, '').replace(/\W+/g, '_')}`,
    summary,
    'x-roles': roles,
    parameters: [
      ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      ...Object.entries(query).map(([name, schema]) => ({ name, in: 'query', schema: schemaOf(schema, 'output') })),
    ],
    ...(body && { requestBody: { content: { 'application/json': { schema: schemaOf(body, 'input') } } } }),
    ...(description.body === 'any' && { requestBody: { content: { 'application/json': { schema: {} } } } }),
    ...(description.body === 'bytes' && { requestBody: { content: { 'application/octet-stream': {} } } }),
    responses: {
      '2XX': {
        description: 'done',
        ...(method !== 'HEAD' && { content: { [isStream ? 'text/event-stream' : answer]: {} } }),
      },
      '401': refusal('nobody that this cloud knows'),
      '403': refusal(`for ${roles.join(', ')} only`),
      ...(description.body === 'bytes' && { '413': refusal('it is too large, or there is too much already') }),
      '429': refusal('too many requests; the header Retry-After says how many seconds to wait'),
      default: refusal('why it is refused'),
    },
  };
}

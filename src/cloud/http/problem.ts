/** Errors as problem documents (RFC 9457). */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { asAosError, type ErrorCode } from '../../core/index.ts';

const STATUS_OF_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  invalidArgument: 400,
  invalidChecksum: 400,
  notFound: 404,
  alreadyExist: 409,
  wrongState: 409,
  outOfRange: 413,
  notSupported: 405,
  timeout: 504,
  noMemory: 507,
};

export function statusOf(error: unknown): number {
  const { code, fields } = asAosError(error);
  return typeof fields.status === 'number' ? fields.status : (STATUS_OF_CODE[code] ?? 500);
}

export function sendProblem(response: ServerResponse, status: number, detail: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const problem = { title: STATUS_CODES[status] ?? 'Error', status, detail };
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(`${JSON.stringify(problem)}\n`);
}

/** For a caller who asks more than its limit. What is left of its request is not read. */
export function sendTooMany(request: IncomingMessage, response: ServerResponse, seconds: number): void {
  response.setHeader('retry-after', String(seconds));
  if (!request.complete) response.setHeader('connection', 'close');
  sendProblem(response, 429, `these are too many requests; try again in ${seconds} s`);
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
}

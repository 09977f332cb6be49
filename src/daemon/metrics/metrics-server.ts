/** The metrics of a daemon, on the loopback interface, for a Prometheus on the same node (spec/beyond.md P-14). */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as z from 'zod';
import { asAosError, type Logger } from '../../core/index.ts';
import { formatMetrics, type Metric } from './format-metrics.ts';
import { processMetrics } from './process-metrics.ts';

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const LISTEN = /^(?:(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\])?:)?(\d{1,5})$/;

/**
 * `metrics.listen`: `9194`, `:9194`, `127.0.0.1:9194` or `[::1]:9194`; absent: no metrics. Nothing but the loopback
 * interface: there is neither a secret nor a certificate on this port.
 */
export const MetricsListen = z
  .union([z.string(), z.int()])
  .transform(String)
  .refine((text) => Number(LISTEN.exec(text)?.[2] ?? Number.NaN) <= 65_535, {
    message: 'expected a port of the loopback interface, such as 127.0.0.1:9194',
  })
  .optional();

export interface MetricsOptions {
  /** Checked by `MetricsListen`. */
  readonly listen: string;
  readonly program: string;
  readonly version: string;
  /** What the daemon knows beside its own cost; asked at each scrape. */
  readonly collect: () => readonly Metric[] | Promise<readonly Metric[]>;
  readonly logger: Logger;
}

export class MetricsServer {
  readonly #options: MetricsOptions;
  readonly #server: Server;
  /** Scrapes at the same time share one collection. */
  #collecting: Promise<string> | undefined;

  private constructor(options: MetricsOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://loopback');
      if (request.method !== 'GET' && request.method !== 'HEAD') return answer(response, 405, 'only GET is answered\n');
      if (pathname !== '/metrics') return answer(response, 404, 'metrics are at /metrics\n');
      this.#collect().then(
        (text) => response.writeHead(200, { 'content-type': CONTENT_TYPE }).end(text),
        (error) => {
          const { message } = asAosError(error);
          this.#options.logger.warn({}, `cannot collect metrics: ${message}`);
          answer(response, 500, `${message}\n`);
        },
      );
    });
  }

  /** Undefined when no address is given, or when it cannot be had: a port that is taken stops no daemon. */
  static async open(
    options: Omit<MetricsOptions, 'listen'> & { readonly listen: string | undefined },
  ): Promise<MetricsServer | undefined> {
    const { listen, logger } = options;
    if (listen === undefined) return undefined;
    const [, host = '127.0.0.1', port] = LISTEN.exec(listen) ?? [];
    const opened = new MetricsServer({ ...options, listen });
    try {
      await new Promise<void>((resolve, reject) => {
        opened.#server.once('error', reject).listen(Number(port), host.replace(/^\[(.*)\]$/, '$1'), resolve);
      });
    } catch (error) {
      logger.warn({ listen }, `there will be no metrics: ${asAosError(error).message}`);
      return undefined;
    }
    return opened;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #collect(): Promise<string> {
    const { program, version, collect } = this.#options;
    this.#collecting ??= (async () => formatMetrics([...processMetrics(program, version), ...(await collect())]))();
    const collecting = this.#collecting;
    const clear = () => {
      if (this.#collecting === collecting) this.#collecting = undefined;
    };
    collecting.then(clear, clear);
    return collecting;
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

/** The server of the update scheduler; off unless its address is configured (spec/decisions.md C-78). */
import { ApiServer, type ServerTls } from '../api/index.ts';
import { asAosError, type Logger } from '../core/index.ts';
import type { Modules } from './modules.ts';
import { NODES } from './numbers.ts';
import { schedulerRoutes } from './updates/index.ts';

type Needed = Pick<Modules, 'updates' | 'images' | 'gate'>;

export class UpdateScheduler {
  readonly #listen: string | undefined;
  readonly #modules: Needed;
  readonly #logger: Logger;
  #server: ApiServer | undefined;

  constructor(listen: string | undefined, modules: Needed, logger: Logger) {
    this.#listen = listen;
    this.#modules = modules;
    this.#logger = logger;
  }

  async start(tls: ServerTls): Promise<void> {
    const listen = this.#listen;
    if (!listen) return;
    const { updates, images, gate } = this.#modules;
    const routes = schedulerRoutes({
      watch: (listener) => updates.watch(listener),
      desired: () => updates.desired,
      items: () => images.items(),
      release: (kind, by) => gate.release(kind, by),
      logger: this.#logger,
    });
    try {
      this.#server = await ApiServer.open({ listen, tls, routes, logger: this.#logger });
    } catch (error) {
      throw asAosError(error, `cannot serve the update scheduler on "updateSchedulerServerUrl" ${listen}`);
    }
  }

  replaceTls(tls: ServerTls): void {
    this.#server?.replaceTls(tls, NODES.closeOldStreamsAfterMs);
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }
}

/** Keeps the networks and the CM's view of them together: tells what runs, takes rules that come later. */
import { readFile, writeFile } from 'node:fs/promises';
import { AosError, asAosError, type Clock, instanceName, type Logger } from '../../core/index.ts';
import type { CmServices, FirewallUpdate } from '../client/index.ts';
import type { NetworkManager } from './network-manager.ts';

const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

/** Between two looks at the counters (spec/decisions.md 8.2). */
const CHECK_MS = 60_000;

export interface NetworkLinkOptions {
  readonly manager: NetworkManager;
  readonly cm: Pick<CmServices, 'firewallUpdates'>;
  /** Between two subscriptions. */
  readonly reconnectMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NetworkLink {
  readonly #options: NetworkLinkOptions;
  readonly #abort = new AbortController();
  #running: Promise<unknown> | undefined;

  constructor(options: NetworkLinkOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= Promise.all([this.#subscribe(), this.#check()]);
  }

  async stop(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'the service manager stops'));
    await this.#running;
  }

  /** The CM knows this node again; a failure is told, the next connection tries again. */
  async sync(): Promise<void> {
    try {
      await this.#options.manager.sync(this.#abort.signal);
    } catch (error) {
      this.#options.logger.warn({}, `the CM was not told of the networks: ${asAosError(error).message}`);
    }
  }

  async #subscribe(): Promise<void> {
    const { signal } = this.#abort;
    const { cm, clock, logger, reconnectMs } = this.#options;
    while (!signal.aborted) {
      try {
        for await (const update of cm.firewallUpdates(signal)) await this.#take(update);
      } catch (error) {
        if (signal.aborted) return;
        logger.debug({}, `the subscription to networks ended: ${asAosError(error).message}`);
      }
      // Ends early only because the daemon stops, which the loop sees.
      await clock.sleep(reconnectMs, signal).catch(() => undefined);
    }
  }

  /** Rules that cannot be made keep neither others nor the subscription; the CM says them again when it synchronises. */
  async #take(update: FirewallUpdate): Promise<void> {
    const { manager, logger } = this.#options;
    try {
      await manager.update(update, this.#abort.signal);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const name = instanceName(update.ident);
      logger.warn({ instance: name }, `the rules of the CM for ${name} were not taken: ${asAosError(error).message}`);
    }
  }

  /** Counts traffic, and makes good what somebody else took away. */
  async #check(): Promise<void> {
    const { signal } = this.#abort;
    const { manager, clock, logger } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(CHECK_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await manager.check(signal);
      } catch (error) {
        if (!signal.aborted) logger.warn({}, `the networks were not looked after: ${asAosError(error).message}`);
      }
    }
  }
}

/** Instances reach nothing beyond their bridge unless the host forwards (T-58). */
export async function ensureForwarding(mode: 'auto' | 'off', logger: Logger): Promise<void> {
  const isOn = (await readFile(IP_FORWARD, 'utf8')).trim() === '1';
  if (isOn) return;
  if (mode === 'off') {
    logger.warn({}, 'the host does not forward IPv4: instances reach their own network only');
    return;
  }
  await writeFile(IP_FORWARD, '1');
  logger.info({}, 'IPv4 forwarding was switched on for the networks of instances');
}

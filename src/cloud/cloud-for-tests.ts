/** A cloud in the process of a test, on free ports of the loopback interface, in a temporary directory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { Life } from '../daemon/index.ts';
import { type Endpoints, startCloud } from './cloud.ts';
import { CloudAccess } from './cloud-access-for-tests.ts';
import { CloudConfig } from './config.ts';

/** As `expect.poll`, with the patience that a busy machine needs; nothing waits so long unless it is broken. */
export const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 15_000 });

export class TestCloud extends CloudAccess {
  readonly #life: Life;

  private constructor(directory: string, endpoints: Endpoints, life: Life) {
    super(directory, endpoints);
    this.#life = life;
  }

  /** Starts a cloud; in the directory of a former one it goes on from there. */
  static async start(config: Record<string, unknown> = {}, directory?: string): Promise<TestCloud> {
    const home = directory ?? (await mkdtemp(join(tmpdir(), 'aos-cloud-test-')));
    const life = new Life(silentLogger);
    const ports = { discovery: 0, webSocket: 0, rest: 0, blobs: 0 };
    const options = CloudConfig.parse({ workingDir: join(home, 'work'), listenHost: '127.0.0.1', ports, ...config });
    try {
      return new TestCloud(home, await startCloud(options, (name, part) => life.use(name, part), silentLogger), life);
    } catch (error) {
      await life.stop();
      throw error;
    }
  }

  /** Stops the cloud and keeps its directory. */
  async stop(): Promise<void> {
    this.disconnect();
    await this.#life.stop();
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

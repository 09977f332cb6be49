/**
 * What systemd and `aos.target` do on a device: which daemons run depends on the provisioning state file, they are
 * started in order, restarted when they die, and all restarted when a hook asks for it.
 */
import { execFile } from 'node:child_process';
import { EventEmitter, on } from 'node:events';
import { existsSync } from 'node:fs';
import { rm, watch } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { bundleOf, type DaemonEvent, DaemonProcess, type DaemonSpec } from './daemon-process.ts';
import type { UnitLayout } from './layout.ts';
import { engineEnvironment } from './token.ts';

export type UnitDaemon = 'aos-iam' | 'aos-cm' | 'aos-sm';

export interface SupervisorOptions {
  readonly layout: UnitLayout;
  readonly restartPauseMs: number;
  /** Network namespace of the daemons; absent: that of this process. */
  readonly namespace?: string;
  /** Log level of the daemons. */
  readonly verbose: string;
  /** What stands for a program; default: its bundle in `dist`. */
  readonly scriptOf?: (program: UnitDaemon) => string;
  /** Extra environment per daemon, for example `AOS_FAULT`. */
  readonly env?: Readonly<Partial<Record<UnitDaemon, Readonly<Record<string, string>>>>>;
}

/** How many past events `waitFor` looks back over. */
const MAX_HISTORY = 1000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #events = new EventEmitter<{ event: [DaemonEvent] }>();
  readonly #history: DaemonEvent[] = [];
  readonly #abort = new AbortController();
  readonly #daemons: Readonly<Record<UnitDaemon, DaemonProcess>>;
  #iamMode: 'provisioning' | 'normal' = 'provisioning';
  /** Starts, stops and restarts of the target, one after another. */
  #work: Promise<void> = Promise.resolve();
  #watching: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#events.setMaxListeners(0);
    this.#events.on('event', (event) => {
      this.#history.push(event);
      if (this.#history.length > MAX_HISTORY) this.#history.shift();
    });
    this.#daemons = {
      'aos-iam': new DaemonProcess(this.#spec('aos-iam', 'iam'), this.#events),
      'aos-cm': new DaemonProcess(this.#spec('aos-cm', 'cm'), this.#events),
      'aos-sm': new DaemonProcess(this.#spec('aos-sm', 'sm'), this.#events),
    };
  }

  /** True once the unit has been provisioned. */
  get provisioned(): boolean {
    return existsSync(this.#options.layout.stateFile);
  }

  daemon(name: UnitDaemon): DaemonProcess {
    return this.#daemons[name];
  }

  /** Everything that happened so far, oldest first. */
  get history(): readonly DaemonEvent[] {
    return this.#history;
  }

  /** Starts what the state file asks for; resolves when all of it is ready. */
  async start(): Promise<void> {
    await rm(this.#options.layout.restartRequest, { force: true });
    this.#watching = this.#watchRequests();
    await this.#inTurn(() => this.#startTarget());
  }

  /** Stops everything in reverse order. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#watching;
    await this.#inTurn(() => this.#stopTarget());
  }

  /** Stops and starts everything, as `systemctl restart aos.target`. */
  restart(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#stopTarget();
      await this.#startTarget();
    });
  }

  /**
   * Resolves with the first event from now on, or from position `since` of the history, that the predicate accepts.
   * Rejects when the time is over, with the last events in its text.
   */
  async waitFor(accept: (event: DaemonEvent) => boolean, timeoutMs: number, since?: number): Promise<DaemonEvent> {
    const past = since === undefined ? undefined : this.#history.slice(since).find(accept);
    if (past) return past;
    try {
      for await (const [event] of on(this.#events, 'event', { signal: AbortSignal.timeout(timeoutMs) })) {
        if (accept(event as DaemonEvent)) return event as DaemonEvent;
      }
    } catch (cause) {
      const last = this.#history.slice(-5).map((event) => JSON.stringify(event));
      throw new Error(`the event did not come within ${timeoutMs} ms; last events: ${last.join(' ')}`, { cause });
    }
    throw new Error('unreachable: the iteration ends by its signal only');
  }

  /** Resolves when the daemon runs and has said that it is ready. */
  async untilReady(name: UnitDaemon, timeoutMs = 30_000): Promise<void> {
    if (this.#daemons[name].isReady) return;
    await this.waitFor((event) => event.kind === 'ready' && event.program === name, timeoutMs);
  }

  #spec(program: UnitDaemon, config: string): DaemonSpec {
    const { layout, restartPauseMs, verbose, env, namespace } = this.#options;
    return {
      program,
      script: (this.#options.scriptOf ?? bundleOf)(program),
      args: () => {
        const provisioning = program === 'aos-iam' && this.#iamMode === 'provisioning';
        return ['-c', join(layout.etc, `${config}.cfg`), ...(provisioning ? ['-provisioning'] : []), '-v', verbose];
      },
      logFile: join(layout.logs, `${program}.log`),
      pidFile: join(layout.run, `${program}.pid`),
      env: { ...engineEnvironment(), SOFTHSM2_CONF: layout.softhsmConf, ...env?.[program] },
      restartPauseMs,
      ...(namespace === undefined ? {} : { namespace }),
    };
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    // Whoever asked for the work hears of its failure; the next in the queue goes on all the same.
    this.#work = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async #startTarget(): Promise<void> {
    this.#iamMode = this.provisioned ? 'normal' : 'provisioning';
    if (this.#iamMode === 'provisioning') await this.#wipe();
    await this.#startDaemon('aos-iam');
    if (this.#iamMode === 'normal') await Promise.all([this.#startDaemon('aos-cm'), this.#startDaemon('aos-sm')]);
  }

  /** The order of `aos.target`; ready first, so that what follows finds what it needs. */
  async #startDaemon(name: UnitDaemon): Promise<void> {
    const since = this.#history.length;
    await this.#daemons[name].start();
    await this.waitFor((event) => event.kind === 'ready' && event.program === name, 60_000, since);
  }

  async #stopTarget(): Promise<void> {
    await this.#daemons['aos-cm'].stop();
    await this.#daemons['aos-sm'].stop();
    await this.#daemons['aos-iam'].stop();
  }

  /** The pre-start command of IAM in provisioning mode; its failure is ignored there too. */
  async #wipe(): Promise<void> {
    await promisify(execFile)(join(this.#options.layout.etc, 'hooks', 'deprovision'));
  }

  async #watchRequests(): Promise<void> {
    const request = this.#options.layout.restartRequest;
    try {
      for await (const { filename } of watch(dirname(request), { signal: this.#abort.signal })) {
        if (filename !== basename(request) || !existsSync(request)) continue;
        await rm(request, { force: true });
        await this.restart();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }
}

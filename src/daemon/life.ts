/** The life of a daemon: options, log, start in order, readiness, signals, stop in reverse order within a bound. */
import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { pino } from 'pino';
import type { Logger } from '../core/index.ts';
import { asAosError, silentLogger } from '../core/index.ts';
import { type Checks, judgeFile } from './check.ts';
import { journalDestination } from './journal-destination.ts';
import { TidyMemory } from './tidy-memory.ts';

/** Something that lives as long as the daemon. Stopping is idempotent and bounded. */
export interface Stoppable {
  stop(): Promise<void> | void;
}

/** Command line options that all daemons share with their C++ twins (spec/product.md X-05). */
export interface DaemonOptions {
  readonly configPath: string;
  /** IAM and MP only: provisioning mode. */
  readonly provisioning: boolean;
}

export interface DaemonDefinition {
  /** `aos-iam`; also the name in the log. */
  readonly name: string;
  readonly version: string;
  readonly defaultConfigPath: string;
  readonly hasProvisioningMode?: boolean;
  /** Builds and starts everything; what must be stopped is registered at `life`. Returns when the daemon is ready. */
  readonly run: (life: Life, options: DaemonOptions) => Promise<void>;
  /** CM only: what `--reset` prints instead of running. */
  readonly describeReset?: (options: DaemonOptions) => Promise<string>;
  /** What `--check <kind>` can judge. */
  readonly checks: Checks;
  /** Gives memory back to the system, after V8 has collected what a burst of work has left. */
  readonly giveBackMemory?: (logger: Logger) => void;
  /** Bound of the whole stop. Default 10 s (spec/decisions.md 8.2). */
  readonly stopTimeoutMs?: number;
}

const DEFAULT_STOP_TIMEOUT_MS = 10_000;
/** As `TimeoutStartSec=` of the units; counts from when it is told. */
const START_EXTENSION_MS = 10 * 60_000;

/** What a daemon's modules see of its life. */
export class Life {
  readonly logger: Logger;
  readonly #abort = new AbortController();
  readonly #parts: { readonly name: string; readonly part: Stoppable }[] = [];
  readonly #onStartOver: (reason: string) => void;
  #stopping: Promise<void> | undefined;

  constructor(logger: Logger = silentLogger, onStartOver: (reason: string) => void = () => undefined) {
    this.logger = logger;
    this.#onStartOver = onStartOver;
  }

  /** Stops in order, with an exit code that has the supervisor start the program anew. */
  startOver(reason: string): void {
    this.#onStartOver(reason);
  }

  /** Aborts when the daemon stops; every wait listens to it. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Tells whoever supervises that the start waits for something outside, and may take longer. */
  stillStarting(status: string): void {
    notifySystemd(`STATUS=${status.replaceAll('\n', ' ')}`, `EXTEND_TIMEOUT_USEC=${START_EXTENSION_MS * 1000}`);
  }

  /** Registers a part; parts are stopped in reverse order of registration. */
  use<T extends Stoppable>(name: string, part: T): T {
    this.#parts.push({ name, part });
    return part;
  }

  /** Stops everything once; a part that fails to stop is logged and does not hold up the others. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    this.#abort.abort();
    for (const { name, part } of [...this.#parts].reverse()) {
      try {
        await part.stop();
      } catch (error) {
        this.logger.error({ part: name, error: asAosError(error).message }, 'a part did not stop in order');
      }
    }
  }
}

/** Runs a daemon until SIGTERM or SIGINT; the exit code tells whether it came up and stopped in order. */
export async function runDaemon(definition: DaemonDefinition, argv: readonly string[] = process.argv): Promise<void> {
  const options = parseOptions(definition, argv);
  if (options.reset && definition.describeReset) {
    process.stdout.write(`${await definition.describeReset(options)}\n`);
    return;
  }
  if (options.check !== undefined) {
    process.exitCode = await checkDocument(definition, options.check, options.configPath);
    return;
  }
  const settings = {
    name: definition.name,
    level: LEVELS[options.levelName] ?? 'info',
    base: { name: definition.name },
  };
  const logger = options.journal ? pino(settings, journalDestination()) : pino(settings);
  if (!(options.levelName in LEVELS)) {
    // No reason to stay down: a typing error in a setting of the host would stop the node.
    logger.warn({ level: options.levelName }, `no such log level: ${options.levelName}; there is ${LEVEL_NAMES}`);
  }
  const life = new Life(logger, (reason) => void stop(reason, 1));
  const stopTimeoutMs = definition.stopTimeoutMs ?? DEFAULT_STOP_TIMEOUT_MS;

  const stop = async (reason: string, exitCode: number) => {
    logger.info({ reason }, 'stopping');
    const timer = setTimeout(() => {
      logger.fatal({ stopTimeoutMs }, 'did not stop in time; exiting');
      process.exit(1);
    }, stopTimeoutMs);
    await life.stop();
    clearTimeout(timer);
    logger.info({}, 'stopped');
    process.exit(exitCode);
  };
  process.once('SIGTERM', () => void stop('SIGTERM', 0));
  process.once('SIGINT', () => void stop('SIGINT', 0));
  const die = (error: unknown) => {
    logger.fatal({ error: describe(error) }, asAosError(error).message);
    void stop('unexpected error', 1);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);

  logger.info({ version: definition.version, config: options.configPath }, 'starting');
  try {
    await definition.run(life, options);
  } catch (error) {
    if (life.signal.aborted) return;
    logger.fatal({ error: describe(error) }, `cannot start: ${asAosError(error).message}`);
    await stop('start failed', 1);
    return;
  }
  life.use('memory', new TidyMemory({ giveBack: () => definition.giveBackMemory?.(logger) })).start();
  logger.info({ sinceExecMs: Math.round(performance.now()) }, 'ready');
  notifyReady();
}

/** Prints what a document is worth, as one JSON value on standard output. */
async function checkDocument({ checks }: DaemonDefinition, kind: string, path: string): Promise<number> {
  const report = await judgeFile(checks, kind, path);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  return report.problem === undefined ? 0 : 1;
}

function describe(error: unknown): object {
  const aos = asAosError(error);
  return { code: aos.code, ...aos.fields, stack: error instanceof Error ? error.stack : undefined };
}

/** Tells whoever supervises: systemd through its socket, a parent process through the IPC channel. */
function notifyReady(): void {
  process.send?.({ ready: true });
  // With nothing said of what the start may have waited for.
  notifySystemd('--ready', 'STATUS=');
  // In half of the time that systemd waits (`WatchdogSec=` of the unit) before it takes us for hung.
  const watchdogMs = Number(process.env.WATCHDOG_USEC ?? 0) / 1000;
  if (watchdogMs > 0) setInterval(() => notifySystemd('WATCHDOG=1'), watchdogMs / 2).unref();
}

/** Node.js has no datagram sockets of Unix; the program that has them costs a few milliseconds. */
function notifySystemd(...words: string[]): void {
  if (!process.env.NOTIFY_SOCKET) return;
  spawn('systemd-notify', words, { stdio: 'ignore' }).on('error', () => {
    // Without the program there is nobody to tell; systemd says so itself when it has waited in vain.
  });
}

const LEVELS: Readonly<Record<string, string>> = {
  disable: 'silent',
  error: 'error',
  warn: 'warn',
  warning: 'warn',
  info: 'info',
  debug: 'debug',
  trace: 'trace',
};
const LEVEL_NAMES = Object.keys(LEVELS).join(', ');

function parseOptions(
  definition: DaemonDefinition,
  argv: readonly string[],
): DaemonOptions & {
  readonly levelName: string;
  readonly journal: boolean;
  readonly reset: boolean;
  readonly check?: string;
} {
  const command = new Command(definition.name)
    .version(definition.version, '--version')
    .helpOption('-h, --help')
    .option('-c, --config <file>', 'configuration file', definition.defaultConfigPath)
    .option('-v, --verbose <level>', `log level: ${LEVEL_NAMES}`, 'info')
    .option('-j, --journal', 'mark each line of the log with its priority, as the journal reads it');
  command.option('--check <kind>', `judge the file, run nothing: ${Object.keys(definition.checks).join(', ')}`);
  if (definition.hasProvisioningMode) {
    command.option('-p, --provisioning', 'start in provisioning mode: servers without TLS');
  }
  if (definition.describeReset) command.option('-r, --reset', 'print what a reset of the working directory deletes');
  // The twins take `-provisioning` with one dash too.
  command.parse(argv.map((word) => (word === '-provisioning' ? '--provisioning' : word)));
  const values = command.opts<{
    config: string;
    verbose: string;
    provisioning?: boolean;
    journal?: boolean;
    reset?: boolean;
    check?: string;
  }>();
  return {
    ...(values.check !== undefined && { check: values.check }),
    configPath: values.config,
    provisioning: values.provisioning ?? false,
    journal: values.journal ?? false,
    reset: values.reset ?? false,
    levelName: values.verbose.toLowerCase(),
  };
}

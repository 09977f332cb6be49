/**
 * Probes of an item: how an instance shows that it does its work (spec/beyond.md P-19, our own extension).
 *
 *     "probes": { "start": { "exec": ["/bin/check"] | "tcp": { "port": 80 } | "http": { "port": 80, "path": "/" },
 *                            "interval": "1s", "timeout": "1s", "startTimeout": "60s" },
 *                 "live": { "exec" | "tcp" | "http": …, "interval": "10s", "timeout": "1s", "failures": 3 } }
 *
 * The start probe says when an instance is active; the live probe, when it is not any more and is started again.
 */
import * as z from 'zod';
import { AosError, asAosError, type Clock, parseDuration, readDocument } from '../../core/index.ts';

const Duration = (fallbackMs: number) =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      try {
        return parseDuration(value);
      } catch (error) {
        context.addIssue({ code: 'custom', message: asAosError(error).message });
        return z.NEVER;
      }
    })
    .refine((value) => value > 0, 'expected a duration of more than 0')
    .default(fallbackMs);

const Port = z.int().min(1, 'expected a port').max(65_535, 'expected a port');

const ways = {
  exec: z.array(z.string()).min(1, 'expected a command').optional(),
  tcp: z.object({ port: Port }).optional(),
  http: z.object({ port: Port, path: z.string().startsWith('/', 'expected a path').default('/') }).optional(),
  timeout: Duration(1_000),
};

interface Ways {
  readonly exec?: string[] | undefined;
  readonly tcp?: { port: number } | undefined;
  readonly http?: { port: number; path: string } | undefined;
}

const isOne = ({ exec, tcp, http }: Ways) => [exec, tcp, http].filter((way) => way !== undefined).length === 1;
const ONE_WAY = 'expected exactly one of exec, tcp and http';

function wayOf({ exec, tcp, http }: Ways) {
  return exec ? ({ exec } as const) : tcp ? ({ tcp } as const) : ({ http: http! } as const);
}

const StartProbe = z
  .object({ ...ways, interval: Duration(1_000), startTimeout: Duration(60_000) })
  .refine(isOne, ONE_WAY)
  .transform(({ interval, timeout, startTimeout, ...rest }) => ({
    way: wayOf(rest),
    intervalMs: interval,
    timeoutMs: timeout,
    startTimeoutMs: startTimeout,
  }));
export type StartProbe = z.output<typeof StartProbe>;
export type ProbeWay = StartProbe['way'];

const LiveProbe = z
  .object({ ...ways, interval: Duration(10_000), failures: z.int().min(1, 'expected at least 1').default(3) })
  .refine(isOne, ONE_WAY)
  .transform(({ interval, timeout, failures, ...rest }) => ({
    way: wayOf(rest),
    intervalMs: interval,
    timeoutMs: timeout,
    failures,
  }));
export type LiveProbe = z.output<typeof LiveProbe>;

const Probes = z.object({ start: StartProbe.optional(), live: LiveProbe.optional() });
export type Probes = z.output<typeof Probes>;

/** The probes of an item configuration. Throws `invalidArgument` naming what is wrong. */
export function readProbes(probes: unknown): Probes {
  return probes === undefined || probes === null ? {} : readDocument(Probes, probes, { what: 'probes' }).value;
}

/** Tries once; throws what a person should read when the instance is not ready. */
export type ProbeOnce = (way: ProbeWay, signal: AbortSignal) => Promise<void>;

/** Tries until it succeeds. Throws `timeout` with the last finding after `startTimeoutMs`, `canceled` when aborted. */
export async function waitUntilReady(
  probe: StartProbe,
  once: ProbeOnce,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonicMs() + probe.startTimeoutMs;
  let finding = 'it was not tried';
  for (;;) {
    const failure = await tryOnce(probe, once, signal);
    if (failure === undefined) return;
    finding = failure;
    if (clock.monotonicMs() + probe.intervalMs > deadline) {
      throw new AosError('timeout', `start probe failed: ${finding}`);
    }
    await clock.sleep(probe.intervalMs, signal);
  }
}

/** Resolves with the last finding after so many failures in a row. Throws `canceled` when aborted. */
export async function waitUntilDead(
  probe: LiveProbe,
  once: ProbeOnce,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  for (let failures = 0; ; ) {
    await clock.sleep(probe.intervalMs, signal);
    const finding = await tryOnce(probe, once, signal);
    failures = finding === undefined ? 0 : failures + 1;
    if (finding !== undefined && failures >= probe.failures) return finding;
  }
}

/** What was found wanting, or undefined. Throws `canceled` alone. */
async function tryOnce(
  { way, timeoutMs }: StartProbe | LiveProbe,
  once: ProbeOnce,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await once(way, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
    return undefined;
  } catch (error) {
    if (signal.aborted) throw new AosError('canceled', 'stopped while probing', { cause: error });
    const aos = asAosError(error);
    return aos.code === 'timeout' ? `no answer within ${timeoutMs} ms` : aos.message;
  }
}

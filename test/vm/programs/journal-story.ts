/**
 * Runs inside of the machine, where a journal is: an SM with a real container, whose output goes to the journal, is asked
 * for logs by a scripted CM. Prints what it heard, as JSON. Arguments: the bundle of aos-sm.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { sm } from '../../../src/api/contracts.ts';
import type { ScriptedStream } from '../../../src/sm/client/scripted-cm-for-tests.ts';
import { SmNode } from '../../component/sm-node.ts';
import { until } from '../../component/until.ts';

export interface JournalStory {
  /** Lines of the container, told by the log of the instance. */
  readonly instanceLog: string;
  /** Nothing was written in the time that was asked for. */
  readonly emptyLog: string;
  readonly crashLog: string;
  readonly systemLog: string;
  /** `kind component: message` of each alert. */
  readonly alerts: readonly string[];
  /** The same after the SM was killed and started again: what was written meanwhile, and nothing twice. */
  readonly alertsAfterRestart: readonly string[];
}

const [bundle = ''] = process.argv.slice(2);
/** The machine has no hardware virtualisation. */
const PATIENCE_MS = 240_000;
const alerts: string[] = [];

/** How far the story has come, for whoever must find out why it did not end. */
const note = (text: string) => process.stderr.write(`${new Date().toISOString()} ${text}\n`);

/** Takes messages until one is wanted; alerts that pass are kept. */
async function hear<T>(
  stream: ScriptedStream,
  take: (message: sm.SMOutgoingMessages['SMOutgoingMessage']) => T | undefined,
): Promise<T> {
  for (;;) {
    const message = await stream.next();
    if (message.case === 'alert') {
      const { AlertItem: item } = message.value;
      if (item.case === 'systemAlert') alerts.push(`system: ${item.value.message}`);
      if (item.case === 'coreAlert') alerts.push(`core ${item.value.coreComponent}: ${item.value.message}`);
    }
    const taken = take(message);
    if (taken !== undefined) return taken;
  }
}

/** All parts of the answer to a request, as text; its status when there is none. */
async function log(stream: ScriptedStream, correlationId: string): Promise<string> {
  let text = '';
  return hear(stream, (message) => {
    if (message.case !== 'log' || message.value.correlationId !== correlationId) return undefined;
    const { status, data, part, partCount, error } = message.value;
    if (status !== 'ok') return `${status} ${error?.message ?? ''}`.trim();
    text += gunzipSync(data).toString();
    return part >= partCount ? text : undefined;
  });
}

/** A unit of systemd of this name that writes a line of this priority. */
function say(unit: string, priority: number, text: string): void {
  execFileSync('systemd-run', ['--quiet', '--wait', `--unit=${unit}`, 'sh', '-c', `echo '<${priority}>${text}'`]);
}

const untilHeard = (stream: ScriptedStream, end: string) =>
  hear(stream, () => (alerts.some((alert) => alert.includes(end)) ? true : undefined));

const node = await SmNode.create(bundle, { journalAlerts: { filter: ['^noise'] } });
try {
  await node.start();
  const { stream } = await node.introduced();
  note('the node has introduced itself');
  const from = new Date();
  const digest = await node.publish({
    script:
      'echo hello; echo error >&2; head -c 20000 /dev/zero | tr "\\0" x; echo; while :; do sleep 1000 & wait; done',
  });
  const service = node.service('web', digest);
  await node.update(stream, [service]);
  const filter = { itemId: 'web' };
  const ask = async (correlationId: string, span: { from?: Date; till?: Date } = {}) => {
    const { from: since, till } = span;
    const value = create(sm.InstanceLogRequestSchema, {
      ...{ correlationId, instanceFilter: filter },
      ...(since && { from: timestampFromDate(since) }),
      ...(till && { till: timestampFromDate(till) }),
    });
    stream.say({ case: 'instanceLogRequest', value });
    return log(stream, correlationId);
  };
  note('the instance runs');
  let asked = 0;
  const instanceLog = await until(
    'the container has written',
    () => ask(`instance ${asked++}`),
    (text) => text.includes('xxx'),
    PATIENCE_MS,
  );
  const emptyLog = await ask('empty', { from: new Date(0), till: new Date(1000) });

  note('the instance has a log');
  const { web: pid } = await node.pids();
  process.kill(pid!, 'SIGSEGV');
  process.kill(pid!, 'SIGKILL');
  await until(
    'it crashed and runs again',
    () => node.pids(),
    (pids) => pids.web !== undefined && pids.web !== pid,
    PATIENCE_MS,
  );
  note('it crashed and runs again');
  const crash = create(sm.InstanceCrashLogRequestSchema, { correlationId: 'crash', filter });
  stream.say({ case: 'instanceCrashLogRequest', value: crash });
  const crashLog = await log(stream, 'crash');

  note('the crash has a log');
  say('disk-watch', 3, 'the disk is on fire');
  say('chatty', 6, 'all is well');
  say('fan', 3, 'noise of the fan');
  // The name of the real one is taken; what counts is what it contains (spec/sm.md 9).
  say('test-aos-cm', 3, '{"level":50,"msg":"the cloud is gone"}');
  say('last', 2, 'end of the first act');
  await untilHeard(stream, 'end of the first act');
  const told = [...alerts];

  note('alerts were heard');
  const system = create(sm.SystemLogRequestSchema, { correlationId: 'system', from: timestampFromDate(from) });
  stream.say({ case: 'systemLogRequest', value: system });
  const systemLog = await log(stream, 'system');

  note('the system has a log');
  // The place in the journal is kept: the SM writes it when it stops.
  await node.end('SIGTERM');
  say('while-away', 3, 'nobody looks');
  alerts.length = 0;
  await node.start();
  const again = await node.introduced();
  note('the SM is back');
  say('later', 3, 'end of the second act');
  await untilHeard(again.stream, 'end of the second act');
  const story: JournalStory = { instanceLog, emptyLog, crashLog, systemLog, alerts: told, alertsAfterRestart: alerts };
  process.stdout.write(JSON.stringify(story));
} catch (error) {
  note(await readFile(node.at('sm.log'), 'utf8'));
  throw error;
} finally {
  await node.close();
}
process.exit(0);

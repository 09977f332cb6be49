/** The inner loop of an author (docs/services.md). Loaded when it is asked for: it brings half of aosctl along. */
import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { AosError, asAosError, isAosError, throwIfCanceled } from '../../core/index.ts';
import type { UnitReport } from '../../daemon/index.ts';
import { instancesOf } from '../cloud-views.ts';
import type { Context } from '../context.ts';
import type { LocalEvent } from '../local-event.ts';
import type { Output } from '../output.ts';
import { readable } from '../readable.ts';
import { type Deployment, deploymentPath, waitUntil, waitUntilActive } from '../wait-for-item.ts';
import { findAuthorFile, readAuthorFile } from './author/read-author-file.ts';
import { type PublishOptions, publish } from './publish.ts';

/** Editors write a file in several steps; what comes within this time is one change. */
const SETTLE_MS = 100;
const ACTIVE_WAIT_S = 60;
const REMOVE_WAIT_S = 60;
const SECOND_MS = 1000;
/** Since the try began there were fewer. */
const RECENT_EVENTS = 20;

export type DevOptions = Pick<PublishOptions, 'id' | 'config' | 'tag'>;

/** Runs what lies at a path, again after each change, until the signal aborts; then removes it. */
export async function develop(path: string, options: DevOptions, given: Context): Promise<void> {
  // What is wrong with the cloud, the unit or with us is no fault of the folder, and waits for no change of it.
  const { cloud } = given;
  const unit = given.namedUnit ?? (await given.askLocal<UnitReport>('/status')).systemId;
  await cloud.get(`/api/units/${encodeURIComponent(unit)}`);
  const context = given.with({ unit });
  const id = options.id ?? (await authorsId(path));
  const { output, signal } = context;
  const changes = new Changes(path, options.config);
  try {
    for (let version = firstVersion(); !signal.aborted; version = nextVersion(version)) {
      const change = changes.next(signal);
      try {
        const startedAt = performance.now();
        const run = await bring(path, { ...options, id, version }, context);
        const seconds = ((performance.now() - startedAt) / SECOND_MS).toFixed(1);
        output.note(`${id} runs as ${version} after ${seconds} s; waiting for changes of ${path}, Ctrl-C ends`);
        const meanwhile = context.with({ signal: change.signal });
        await Promise.race([change.happened, Promise.all([showLogs(run, meanwhile), tellFailures(run, meanwhile)])]);
      } catch (error) {
        if (signal.aborted) break;
        // What its author has written does not work yet: that is what this loop is for.
        output.note(`aosctl: ${asAosError(error).message}`);
      }
      await change.happened;
    }
  } finally {
    changes.close();
    await remove(id, context.with({ signal: AbortSignal.timeout((REMOVE_WAIT_S + 1) * SECOND_MS) }));
  }
}

/** Higher than those of all former sessions, and plainly none of a release. */
const firstVersion = () => `0.0.${Math.floor(Date.now() / SECOND_MS)}`;
const nextVersion = (version: string) =>
  `0.0.${Math.max(Number(version.slice('0.0.'.length)) + 1, Math.floor(Date.now() / SECOND_MS))}`;

async function authorsId(path: string): Promise<string> {
  const authorFile = (await stat(path)).isDirectory() ? findAuthorFile(path) : undefined;
  const [item, ...more] = authorFile === undefined ? [] : await readAuthorFile(authorFile);
  if (more.length > 0) throw new AosError('invalidArgument', `${authorFile} has several items; dev takes one`);
  if (item?.id === undefined) throw new AosError('invalidArgument', 'it is not said which item this is: give --id');
  return `${item.id}-dev`;
}

/** One try of an instance. */
interface Run {
  readonly instance: string;
  readonly version: string;
  /** What was written before is of tries before; ISO 8601. */
  readonly since: string;
}

/** Publishes and deploys; answers the first instance once it is active. */
async function bring(
  path: string,
  options: PublishOptions & { readonly id: string; readonly version: string },
  context: Context,
): Promise<Run> {
  const { id: itemId, version } = options;
  const { output, cloud, unit } = context;
  const quiet: Output = {
    json: output.json,
    line: () => undefined,
    note: (text) => /^waiting|%/.test(text) || output.note(text),
    page: () => undefined,
    progress: () => undefined,
    style: output.style,
  };
  await publish(path, options, context.with({ output: quiet }));
  throwIfCanceled(context.signal);
  const since = new Date().toISOString();
  const deployment = await cloud.send<Deployment>('PUT', deploymentPath(unit, itemId), { version });
  const run = { instance: `${itemId}/${deployment.subject}/0`, version, since };
  try {
    await waitUntilActive(context.with({ output: quiet }), ACTIVE_WAIT_S, deployment);
  } catch (error) {
    // Its last words are what its author looks for.
    await showLogs(run, context, false).catch((missing: unknown) => {
      // It has never come so far as to have any.
      if (!isAosError(missing, 'notFound')) output.note(`its log is not to be had: ${asAosError(missing).message}`);
    });
    throw error;
  }
  return run;
}

/** Goes on until the signal aborts, unless it shall only show what is there; an instance that ends has its logs all the same. */
async function showLogs({ instance, since }: Run, context: Context, follow = true): Promise<void> {
  const { output } = context;
  const question = { instance, since, follow };
  for await (const line of context.followDaemon<{ at: string; text: string }>('sm', '/logs', question)) {
    output.line(output.json ? JSON.stringify(line) : readable(line.text));
  }
}

/** Of an instance that was active already; goes on until the signal aborts. */
async function tellFailures({ instance, version, since }: Run, context: Context): Promise<void> {
  const question = { kind: 'instance', id: instance, limit: RECENT_EVENTS };
  const events = context.followDaemon<LocalEvent>('cm', '/events/follow', question);
  for await (const { at, what, because } of events) {
    if (at >= since && what.startsWith(`version ${version} failed`)) {
      context.output.note(readable(`aosctl: instance ${instance} failed: ${because}`));
    }
  }
}

async function remove(itemId: string, context: Context): Promise<void> {
  try {
    await context.cloud.send('DELETE', deploymentPath(context.unit, itemId));
  } catch (error) {
    // Nothing of it was ever good enough to be deployed.
    if (isAosError(error, 'notFound')) return;
    throw error;
  }
  await waitUntil(context, REMOVE_WAIT_S, `the end of ${itemId}`, (unit) =>
    instancesOf(unit).every((instance) => instance.itemId !== itemId || instance.state === 'inactive'),
  );
  context.output.note(`${itemId} is removed`);
}

interface Change {
  /** Resolves when something has changed and nothing more came for a moment, or when nobody waits any more. */
  readonly happened: Promise<void>;
  readonly signal: AbortSignal;
}

/** Changes of a folder and of a file beside it. */
class Changes {
  readonly #watchers: { close(): void }[];
  #onChange: () => void = () => undefined;

  constructor(folder: string, file: string | undefined) {
    const changed = () => this.#onChange();
    this.#watchers = [
      watch(folder, { recursive: true }, changed),
      ...(file === undefined ? [] : [watch(file, changed)]),
    ];
  }

  /** The next one after this call. */
  next(signal: AbortSignal): Change {
    const over = new AbortController();
    const happened = new Promise<void>((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const end = () => {
        over.abort(new AosError('canceled', 'the files have changed'));
        resolve();
      };
      this.#onChange = () => {
        clearTimeout(timer);
        timer = setTimeout(end, SETTLE_MS);
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
    return { happened, signal: over.signal };
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}

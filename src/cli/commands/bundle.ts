import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { AosError, asAosError, systemClock } from '../../core/index.ts';
import type { BundleReport, UnitReport } from '../../daemon/index.ts';
import type { Context } from '../context.ts';
import { parseCount } from '../options.ts';
import { printResult } from '../output.ts';
import { byteReporter } from '../progress.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

/** How often the CM is asked how far its update is. */
const LOOK_AGAIN_MS = 250;
const READ_CHUNK_BYTES = 256 * 1024;

/** Writes what the cloud sends to a file that appears when it is whole. It holds keys of blobs: for its owner only. */
async function save(context: Context, units: readonly string[], path: string): Promise<number> {
  const target = resolve(path);
  const temporary = join(dirname(target), `.${basename(target)}-${randomBytes(6).toString('hex')}`);
  const answer = await context.cloud.receive('POST', '/api/bundles', { units });
  try {
    const report = byteReporter(context.output, 'received');
    await pipeline(
      answer,
      async function* (source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          report(chunk.length);
          yield chunk;
        }
      },
      createWriteStream(temporary, { flags: 'wx', mode: 0o600 }),
      { signal: context.signal },
    );
    const file = await open(temporary, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    const { readBundleHead } = await import('../bundle/read-head.ts');
    // What broke off on its way has no second entry of zeros at its end, and no unit takes it.
    if ((await readBundleHead(temporary)) === undefined) {
      throw new AosError('failed', `${context.cloud.url} did not send a bundle`);
    }
    await rename(temporary, target);
    return (await stat(target)).size;
  } catch (error) {
    await rm(temporary, { force: true });
    throw asAosError(error, `cannot write ${path}`);
  }
}

async function* piecesOf(path: string, context: Context): AsyncGenerator<Buffer> {
  const { size } = await stat(path);
  const report = byteReporter(context.output, 'checked', size);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: READ_CHUNK_BYTES }) as AsyncIterable<Buffer>) {
      yield chunk;
      report(chunk.length);
    }
  } catch (error) {
    throw asAosError(error, `cannot read ${path}`);
  }
}

/** Waits until the update is over, and throws `failed` with what could not be brought about. */
async function waitForUpdate(context: Context, seconds: number, { items }: BundleReport): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + seconds * 1000;
  for (;;) {
    const { update, items: present, instances } = await context.askLocal<UnitReport>('/status');
    context.output.progress(
      `the update is ${update.state}${update.waitsFor === undefined ? '' : `: ${update.waitsFor}`}`,
    );
    if (update.state === 'none') {
      const isOurs = (one: { readonly itemId: string; readonly version: string }) =>
        items.some(({ itemId, version }) => one.itemId === itemId && one.version === version);
      const failed = [...present.filter(isOurs), ...instances.filter(isOurs)].find(({ state }) => state === 'failed');
      if (!failed) return;
      const what = 'instance' in failed ? `${failed.itemId}/${failed.subjectId}/${failed.instance}` : failed.itemId;
      throw new AosError(
        'failed',
        `${what} ${failed.version} failed: ${failed.error?.message || 'no reason given'}; "aosctl why ${what}" tells more`,
      );
    }
    if (systemClock.monotonicMs() > deadlineMs) {
      const because = update.waitsFor === undefined ? '' : `, which waits: ${update.waitsFor}`;
      throw new AosError(
        'timeout',
        `the update is still ${update.state} after ${seconds} s${because}; "aosctl update"`,
      );
    }
    await systemClock.sleep(LOOK_AGAIN_MS, context.signal);
  }
}

export function bundleCommands(program: Command, run: Run): void {
  program
    .command('bundle <file> [units...]')
    .description('write what units are to become, and the blobs for it, into one signed file for "aosctl apply"')
    .addHelpText(
      'after',
      '\nFor units that reach no cloud: the file is carried to them. Without names it is for the unit of --unit. The keys of its\n' +
        'blobs are in the file: whoever has it can read the items.',
    )
    .action((file: string, names: readonly string[]) =>
      run(async (context) => {
        const units = names.length > 0 ? names : [context.unit];
        const sizeBytes = await save(context, units, file);
        printResult(context.output, { file, units, sizeBytes }, [
          `${file} is for ${units.join(', ')}: ${sizeBytes} bytes; there: aosctl apply ${basename(file)}`,
        ]);
      }),
    );

  program
    .command('apply <bundle>')
    .description(
      'let the unit of this machine become what a bundle says, without a cloud; "aosctl plan" shows it before',
    )
    .option('--wait <seconds>', 'wait until the update is over', parseCount)
    .action((path: string, { wait }: { readonly wait?: number }) =>
      run(async (context) => {
        context.mustBeHere();
        const { readBundleHead } = await import('../bundle/read-head.ts');
        const head = await readBundleHead(path);
        if (!head) {
          throw new AosError('invalidArgument', `${path} is no bundle; "aosctl bundle" at the cloud makes one`);
        }
        const report = await context.uploadLocal<BundleReport>('/bundle/apply', piecesOf(path, context));
        const isNew = report.outcome === 'accepted';
        if (isNew && wait !== undefined) await waitForUpdate(context, wait, report);
        const done = wait === undefined ? 'is accepted; "aosctl update" tells how far it is' : 'is carried out';
        printResult(context.output, report, [
          `the bundle of ${report.createdAt} ${isNew ? done : 'changes nothing: the unit is as it says, or on its way'}`,
          ...report.items.map(({ itemId, version }) => `  ${itemId} ${version}`),
        ]);
      }),
    );
}

/** Disk quotas of users, as the host's file systems keep them (spec/cm.md 5.2 step 4). */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';

const TIMEOUT_MS = 10_000;
const BYTES_PER_BLOCK = 1024;
const MAX_REPORT_BYTES = 4 * 1024 * 1024;

export interface DiskQuota {
  /** Limits what a user may occupy on the file system of a path. Throws `runtime` with the tool's words. */
  setLimit(path: string, uid: number, bytes: number): Promise<void>;
}

export interface DiskUsage {
  /** Bytes that each user occupies on the file system of a path. Throws `runtime` with the tool's words. */
  usage(path: string): Promise<ReadonlyMap<number, number>>;
}

/** With the tools `setquota` and `repquota`; limits are hard and in blocks of 1 KiB, rounded up. */
export const systemDiskQuota: DiskQuota & DiskUsage = {
  setLimit: async (path, uid, bytes) => {
    const blocks = String(Math.ceil(bytes / BYTES_PER_BLOCK));
    faultPoint('quota.set');
    await runTool('setquota', ['-u', String(uid), '0', blocks, '0', '0', await mountOf(path)]);
  },
  usage: async (path) =>
    parseQuotaReport(await runTool('repquota', ['--user', '--no-names', '--output=csv', await mountOf(path)])),
};

async function mountOf(path: string): Promise<string> {
  return mountPointOf(path, await readFile('/proc/self/mountinfo', 'utf8'));
}

async function runTool(tool: string, words: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(tool, words, { timeout: TIMEOUT_MS, maxBuffer: MAX_REPORT_BYTES })).stdout;
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw stderr
      ? new AosError('runtime', stderr.trim().split('\n')[0]!, { cause: error })
      : asAosError(error, `cannot run ${tool}`);
  }
}

/** Bytes by user from the comma-separated form of `repquota`: `#5000,ok,ok,20,0,…`, blocks of 1 KiB. Pure. */
export function parseQuotaReport(report: string): Map<number, number> {
  const [head = '', ...rows] = report.split('\n');
  const column = head.split(',').indexOf('BlockUsed');
  if (column < 0) throw new AosError('runtime', `repquota wrote a report that cannot be read: ${head.slice(0, 80)}`);
  const users = new Map<number, number>();
  for (const row of rows) {
    const cells = row.split(',');
    const uid = /^#(\d+)$/.exec(cells[0] ?? '')?.[1];
    const blocks = Number(cells[column]);
    if (uid !== undefined && Number.isSafeInteger(blocks)) users.set(Number(uid), blocks * BYTES_PER_BLOCK);
  }
  return users;
}

/** The mount that a path lies on, by `/proc/self/mountinfo`. Pure. */
export function mountPointOf(path: string, mountInfo: string): string {
  const points = mountInfo
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((point) => point !== undefined)
    .map((point) => point.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
  const above = points.filter((point) => point === '/' || path === point || path.startsWith(`${point}/`));
  return above.reduce((best, point) => (point.length >= best.length ? point : best), '/');
}

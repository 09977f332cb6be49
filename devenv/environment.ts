/** The one environment of a checkout, in `./.aos` or `$AOS_DEV_DIR`: where it is and whether it is up. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bundleOf, startTimeOf } from './daemon-process.ts';
import { unitLayout } from './layout.ts';
import { PROJECT_ROOT } from './project.ts';

export interface EnvironmentLayout {
  readonly root: string;
  readonly cloud: string;
  readonly unit: string;
  readonly images: string;
  /** Profile for aosctl. */
  readonly profile: string;
  /** Remembers the process of `./dev up`. */
  readonly pidFile: string;
}

export function environmentLayout(): EnvironmentLayout {
  const root = resolve(process.env.AOS_DEV_DIR ?? join(PROJECT_ROOT, '.aos'));
  const at = (name: string) => join(root, name);
  return {
    root,
    cloud: at('cloud'),
    unit: at('unit'),
    images: at('images'),
    profile: at('aosctl.json'),
    pidFile: at('up.pid'),
  };
}

/** The pid of a running `./dev up`. */
export function runningUp(layout: EnvironmentLayout): number | undefined {
  if (!existsSync(layout.pidFile)) return undefined;
  const { pid, startTime } = JSON.parse(readFileSync(layout.pidFile, 'utf8')) as { pid: number; startTime?: string };
  return startTime !== undefined && startTimeOf(pid) === startTime ? pid : undefined;
}

/** Runs aosctl with the profile of the environment; its answers and progress go to the terminal. */
export async function aosctl(layout: EnvironmentLayout, args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [bundleOf('aosctl'), '--profile', layout.profile, ...args], {
    stdio: 'inherit',
    // Where its tokens are, which on a device stands in /etc/default/aoscore.
    env: { ...process.env, SOFTHSM2_CONF: unitLayout(layout.unit).softhsmConf },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

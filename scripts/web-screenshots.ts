/**
 * Pictures of the web page of aos-cloud with a small fleet, to be looked at and for `docs/`:
 * `node scripts/web-screenshots.ts <directory> [--all | --hard]`, the latter of what tries the pages most. Needs Debian's chromium.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BrowserContextOptions, chromium } from 'playwright-core';
import { logIn } from '../test/e2e/browser-for-web.ts';
import { startWebFleet } from '../test/e2e/fleet-for-web.ts';
import { addHardCases } from '../test/e2e/hard-cases-for-web.ts';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];
const DESKTOP = { viewport: { width: 1200, height: 800 } };
const LOOKS: Readonly<Record<string, BrowserContextOptions>> = {
  light: DESKTOP,
  dark: { ...DESKTOP, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
};

const { values, positionals } = parseArgs({
  ...{ allowPositionals: true, options: { all: { type: 'boolean' }, hard: { type: 'boolean' } } },
});
const directory = positionals[0] ?? 'build/web';
await mkdir(directory, { recursive: true });
const fleet = await startWebFleet();
const profile = await mkdtemp(join(tmpdir(), 'aos-web-pictures-'));
let hard: Awaited<ReturnType<typeof addHardCases>> | undefined;
try {
  const [campaign] = await fleet.cloud.must<{ id: string }[]>('GET', '/api/campaigns');
  const unit = `/units/${fleet.unit.systemId}`;
  let chosen: readonly (readonly [string, string, string?])[];
  /** What `docs/` shows comes first. */
  const pages: readonly (readonly [string, string, string?])[] = [
    ['fleet', '/'],
    ['monitoring', `${unit}/monitoring`],
    ['campaign', `/campaigns/${campaign!.id}`],
    ['unit', unit],
    ['failing', `/units/${fleet.failing.systemId}`],
    ['change', unit, 'Change'],
    ['deploy', unit, 'Deploy an item'],
    ['events', `${unit}/events`],
    ['logs', `${unit}/logs`],
    ['manage', `${unit}/manage`],
    ['node', `${unit}/nodes/main`],
    ['instance', `${unit}/instances/telemetry/default/0`],
    ['why', `/units/${fleet.failing.systemId}/instances/telemetry/default/0`],
    ['items', '/items', 'Publish'],
    ['campaigns', '/campaigns'],
    ['groups', '/groups'],
    ['certificates', '/certificates'],
    ['people', '/people'],
    ['missing', '/units/nobody'],
  ];
  if (values.hard) {
    hard = await addHardCases(fleet.cloud);
    chosen = hard.paths.map((path, index) => [`hard-${String(index).padStart(2, '0')}`, path] as const);
  } else {
    chosen = values.all ? pages : pages.slice(0, 3);
  }
  for (const [look, options] of Object.entries(LOOKS)) {
    const context = await chromium.launchPersistentContext(join(profile, look), {
      ...{ executablePath: '/usr/bin/chromium', args: FLAGS, ignoreHTTPSErrors: true, ...options },
    });
    const page = await context.newPage();
    const { url } = await fleet.cloud.must<{ url: string }>('POST', '/api/login-tokens');
    await logIn(page, url);
    for (const [name, path, opened] of chosen) {
      await page.goto(fleet.cloud.endpoints.restUrl + path);
      if (opened !== undefined) await page.getByText(opened, { exact: true }).first().click();
      await page.screenshot({
        path: join(directory, `${name}-${look}.png`),
        fullPage: values.all === true || values.hard === true,
      });
    }
    await context.close();
  }
} finally {
  hard?.close();
  await fleet.close();
  await rm(profile, { recursive: true, force: true });
}

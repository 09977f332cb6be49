/** The web page of a cloud in a real browser: `npx vitest run test/e2e/web.test.ts`. Needs Debian's chromium. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebBrowser } from './browser-for-web.ts';
import { item, node, running, startWebFleet, type WebFleet } from './fleet-for-web.ts';

const STORY_MS = 120_000;

let fleet: WebFleet;
let browser: WebBrowser;

beforeAll(async () => {
  fleet = await startWebFleet();
  browser = await WebBrowser.for(fleet.cloud);
}, STORY_MS);

afterAll(async () => {
  await browser?.close();
  await fleet?.close();
});

afterEach(() => browser.expectNoComplaints());

const at = (path: string) => fleet.cloud.endpoints.restUrl + path;

describe('[P-13] the web page', { timeout: STORY_MS }, () => {
  test('nobody gets in without a token, and a token gets one browser in', async () => {
    const page = await browser.open();
    await page.goto(at('/'));
    expect(new URL(page.url()).pathname).toBe('/login');
    const { url } = await fleet.cloud.must<{ url: string }>('POST', '/api/login-tokens');
    await page.getByLabel('paste the token').fill(new URL(url).searchParams.get('token')!);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    const [cookie] = await browser.context.cookies();
    expect(cookie).toMatchObject({ httpOnly: true, secure: true, sameSite: 'Strict' });
    const answer = await page.goto(at('/'));
    expect(answer!.headers()['content-security-policy']).toMatch(/default-src 'none'; script-src 'self'/);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('aosctl login').waitFor();
    await page.goto(at('/items'));
    expect(new URL(page.url()).pathname).toBe('/login');
  });

  test('the fleet shows who is online, who fails, and what a unit says of itself', async () => {
    const page = await browser.loggedIn();
    const row = page.getByRole('row', { name: fleet.failing.systemId });
    expect(await row.textContent()).toMatch(/online.*failed/s);
    await page.getByRole('link', { name: fleet.failing.systemId }).click();
    await page.getByText('no room on partition services').first().waitFor();
    await page.getByRole('link', { name: 'telemetry' }).click();
    const why = page.locator('.why');
    expect(await why.textContent()).toMatch(/deployed on this unit.*SIGSEGV.*exit code 139/s);
  });

  test('what a unit reports is shown at once, without a new visit, and what is being typed stays', async () => {
    const page = await browser.loggedIn();
    await page.goto(at(`/units/${fleet.unit.systemId}`));
    await page.getByText('Deploy an item').click();
    await page.getByLabel('Subject').fill('half typed');
    await fleet.unit.acked(
      fleet.unit.sendStatus({
        instances: [running('telemetry', '1.1.0', 'main', 2, 'out of memory')],
        items: [item('telemetry', '1.1.0')],
      }),
    );
    await page.getByText('out of memory').first().waitFor();
    expect(await page.getByLabel('Subject').inputValue()).toBe('half typed');
    await fleet.unit.acked(fleet.unit.sendStatus({ instances: [running('telemetry', '1.1.0', 'main', 2)] }));
    await page.getByText('out of memory').first().waitFor({ state: 'detached' });
  });

  test('while the cloud cannot answer the page keeps what it shows, and goes on by itself afterwards', async () => {
    const page = await browser.loggedIn();
    const failed = new Set<string>();
    const broken = { status: 500, contentType: 'text/html', body: '<main id="main">broken</main>' };
    // The stream of news and the renewal of the page, once each.
    await page.route(/\/events$|\/units\/[^/]+$/, (route) => {
      const request = route.request();
      if (request.resourceType() === 'document' || failed.has(request.url())) return route.continue();
      failed.add(request.url());
      return route.fulfill(broken);
    });
    const refused = page.waitForResponse(
      (response) => response.status() === 500 && !response.url().endsWith('/events'),
    );
    const lost = page.getByText('no connection to the cloud').waitFor();
    await page.goto(at(`/units/${fleet.unit.systemId}`));
    await Promise.all([lost, refused]);
    await page.getByText('the cloud cannot answer now; this is from').waitFor();
    expect(await page.locator('main').textContent()).toContain('telemetry');
    await page.locator('#link').waitFor({ state: 'hidden' });
    // A browser complains of each refusal.
    browser.expectNoComplaints('500');
  });

  test('while the database is gone the page says so, keeps what it shows, loses no words that were typed, and goes on', async () => {
    const page = await browser.loggedIn();
    await page.goto(at('/groups'));
    await page.getByText('New unit set').click();
    await page.getByLabel('Name').first().fill('saved-by-patience');
    const database = new DatabaseSync(join(fleet.cloud.directory, 'work', 'cloud.db'));
    database.exec('PRAGMA busy_timeout = 5000; PRAGMA legacy_alter_table = ON; ALTER TABLE unitSets RENAME TO gone');
    try {
      await page.getByRole('button', { name: 'Make' }).first().click();
      await page.getByRole('alert').waitFor();
      await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
      await page.getByText('the cloud cannot answer now; this is from').waitFor();
      await page.getByRole('rowheader', { name: 'first-cars' }).waitFor();
      const other = await browser.context.newPage();
      expect((await other.goto(at('/groups')))!.status()).toBe(500);
      expect(await other.locator('main').textContent()).toMatch(
        /It did not work.*Nothing was changed.*Back to the start/,
      );
      await other.close();
    } finally {
      database.exec('ALTER TABLE gone RENAME TO unitSets');
      database.close();
    }
    await page.locator('#link').waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Make' }).first().click();
    await page.getByRole('rowheader', { name: 'saved-by-patience' }).waitFor();
    await fleet.cloud.must('DELETE', '/api/unit-sets/saved-by-patience');
    browser.expectNoComplaints('500');
  });

  test('deploy, scale, roll back and remove reach the unit', async () => {
    const page = await browser.loggedIn();
    const { unit } = fleet;
    const told = async () => (await unit.next('desiredStatus')).data;
    await page.goto(at(`/units/${unit.systemId}`));
    unit.inbox.length = 0;
    const change = page.getByText('Change', { exact: true }).first();
    await change.click();
    await page.getByLabel('Instances').first().fill('3');
    await page.getByRole('button', { name: 'Scale' }).click();
    expect((await told()).instances).toContainEqual(
      expect.objectContaining({ item: { id: 'telemetry' }, numInstances: 3 }),
    );
    await change.click();
    await page.getByRole('button', { name: 'Roll back to 1.0.0' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Go on' }).click();
    expect((await told()).items).toContainEqual(expect.objectContaining({ version: '1.0.0' }));
    await change.click();
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Go on' }).click();
    expect((await told()).items).toHaveLength(1);
    await page.getByText('Deploy an item').click();
    await page.getByLabel('Item and version').selectOption({ label: 'telemetry 1.1.0' });
    await page.getByRole('button', { name: 'Deploy' }).click();
    expect((await told()).items).toContainEqual(
      expect.objectContaining({ item: { id: 'telemetry', type: 'service' }, version: '1.1.0' }),
    );
  });

  test('what cannot be undone is asked first, and "Cancel" does nothing', async () => {
    const page = await browser.loggedIn();
    await page.goto(at(`/units/${fleet.unit.systemId}/manage`));
    await page.getByRole('button', { name: 'Forget' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await fleet.cloud.must('GET', fleet.unit.path)).toMatchObject({ online: true });
    await page.getByRole('button', { name: 'Renew all now' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Go on' }).click();
    expect((await fleet.unit.next('renewCertificatesNotification')).data.certificates.length).toBeGreaterThan(0);
  });

  test('logs are asked for and come; a node is paused', async () => {
    const page = await browser.loggedIn();
    await page.goto(at(`/units/${fleet.unit.systemId}/logs`));
    await page.getByText('link is up').waitFor();
    fleet.unit.inbox.length = 0;
    await page.getByRole('button', { name: 'Ask' }).click();
    expect((await fleet.unit.next('requestLog')).data.filter.nodeIds).toHaveLength(2);
    await page.goto(at(`/units/${fleet.unit.systemId}/nodes/display`));
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Go on' }).click();
    let nodes = (await fleet.unit.next('desiredStatus')).data.nodes;
    while (nodes === undefined) nodes = (await fleet.unit.next('desiredStatus')).data.nodes;
    expect(nodes).toEqual([{ item: { codename: 'display' }, state: 'paused' }]);
    await fleet.unit.acked(fleet.unit.sendStatus({ nodes: [{ ...node('display', false), state: 'paused' }] }));
    await page.getByRole('button', { name: 'Resume' }).waitFor();
  });

  test('charts show what was measured, with the alerts of the node', async () => {
    const page = await browser.loggedIn();
    await page.goto(at(`/units/${fleet.unit.systemId}/monitoring`));
    const chart = page.getByRole('img', { name: /^CPU: now \d+ %; highest \d+ %; 2 alerts/ });
    await chart.hover();
    expect(await page.locator('.tip').textContent()).toMatch(/\d+ %/);
    await page.locator('.key-alerts', { hasText: '2 alerts' }).first().waitFor();
    const { x, y, width } = (await chart.boundingBox())!;
    const marks = JSON.parse((await page.locator('.area').first().getAttribute('data-marks'))!) as { at: number }[];
    const { from, till } = (await page.evaluate("({ ...document.querySelector('.area').dataset })")) as {
      from: string;
      till: string;
    };
    const share = (marks[0]!.at - Number(from)) / (Number(till) - Number(from));
    await page.mouse.move(x + share * width, y + 20);
    expect(await page.locator('.tip').textContent()).toMatch(/main: (fan is slow|cpu is at)/);
    await page.getByRole('link', { name: 'day' }).click();
    await page.locator('[aria-current="true"]', { hasText: 'day' }).waitFor();
  });

  test('a prepared image that is chosen is published', async () => {
    const { cloud } = fleet;
    const put = (value: unknown) => ({ bytes: Buffer.from(JSON.stringify(value)) });
    const { digestOf } = await import('../../src/core/index.ts');
    const layer = { bytes: Buffer.from('a layer') };
    const of = ({ bytes }: { bytes: Buffer }) => ({ mediaType: 'x', digest: digestOf(bytes), size: bytes.length });
    const config = put({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [of(layer).digest] },
    });
    const itemConfig = put({ runtimes: [{ codename: 'crun' }] });
    const manifest = put({ schemaVersion: 2, config: of(config), aosItemConfig: of(itemConfig), layers: [of(layer)] });
    const index = put({ schemaVersion: 2, manifests: [of(manifest)] });
    const { pack } = await import('tar-stream');
    const tar = pack();
    tar.entry({ name: 'index.json' }, index.bytes);
    for (const blob of [layer, config, itemConfig, manifest]) {
      tar.entry({ name: `blobs/${of(blob).digest.replace(':', '/')}` }, blob.bytes);
    }
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    const file = join(browser.directory, 'dropped.tar');
    await writeFile(file, Buffer.concat(chunks));
    const page = await browser.loggedIn();
    await page.goto(at('/items'));
    await page.getByText('Publish', { exact: true }).first().click();
    await page.locator('input[type=file]').setInputFiles(file);
    await page.getByLabel('Version').fill('1.0.0');
    await page.locator('#publish button').click();
    await page.getByRole('row', { name: /dropped 1\.0\.0/ }).waitFor();
    expect(await cloud.must('GET', '/api/items/dropped')).toMatchObject([{ version: '1.0.0', verification: 'valid' }]);
  });

  test('it works with the keyboard alone: to a unit, into its menu, through a question', async () => {
    const page = await browser.loggedIn();
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe(fleet.unit.systemId);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: fleet.unit.systemId }).waitFor();
    await page.getByText('Change', { exact: true }).first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Remove' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Scale' }).focus();
    await page.keyboard.press('Escape');
    expect(await page.evaluate('document.activeElement.tagName')).toBe('SUMMARY');
  });

  test('another site cannot make a browser act', async () => {
    const page = await browser.loggedIn();
    await page.goto('about:blank');
    const cookie = (await browser.context.cookies(at('/'))).map(({ name, value }) => `${name}=${value}`).join('; ');
    const ask = async (headers: Record<string, string>) =>
      (
        await browser.context.request.put(at('/api/unit-sets/forged'), {
          data: { units: [] },
          headers: { cookie, ...headers },
        })
      ).status();
    expect(await ask({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })).toBe(401);
    expect(await ask({ origin: 'https://evil.example' })).toBe(401);
    expect(await ask({ 'sec-fetch-site': 'same-origin' })).toBe(201);
  });
});

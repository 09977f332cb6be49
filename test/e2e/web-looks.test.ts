/** How the web page of a cloud looks in a real browser: `npx vitest run test/e2e/web-looks.test.ts`. */
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PHONE, WebBrowser } from './browser-for-web.ts';
import { startWebFleet, type WebFleet } from './fleet-for-web.ts';
import { addHardCases } from './hard-cases-for-web.ts';

const STORY_MS = 240_000;
const WIDE = { viewport: { width: 1280, height: 800 } };

/** Texts whose contrast with what is behind them is less than WCAG AA asks for. */
const FAINT_TEXTS = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colors) => {
    canvas.fillStyle = '#fff';
    for (const color of ['#fff', ...colors]) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const faint = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (text.nodeValue.trim() === '' || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const behind = [];
    for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const [front, back] = [paint([...behind, style.color]), paint(behind)].map(light);
    const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5)) faint.add(element.className + ': ' + text.nodeValue.slice(0, 30) + ' ' + contrast.toFixed(2));
  }
  return [...faint];
})()`;

let fleet: WebFleet;
let hard: Awaited<ReturnType<typeof addHardCases>>;
let browser: WebBrowser;

beforeAll(async () => {
  fleet = await startWebFleet();
  hard = await addHardCases(fleet.cloud);
  browser = await WebBrowser.for(fleet.cloud);
}, STORY_MS);

afterAll(async () => {
  await browser?.close();
  hard?.close();
  await fleet?.close();
});

afterEach(() => browser.expectNoComplaints());

const at = (path: string) => fleet.cloud.endpoints.restUrl + path;
const allPages = async (): Promise<string[]> => {
  const unit = `/units/${fleet.unit.systemId}`;
  const [campaign] = await fleet.cloud.must<{ id: string }[]>('GET', '/api/campaigns');
  return [
    ...['/', unit, `/units/${fleet.failing.systemId}`],
    ...['monitoring', 'events', 'logs', 'manage', 'nodes/main', 'instances/telemetry/default/0'].map(
      (p) => `${unit}/${p}`,
    ),
    ...['/items', '/campaigns', `/campaigns/${campaign!.id}`, '/groups', '/certificates', '/people'],
  ];
};

describe('[P-13] the web page', { timeout: STORY_MS }, () => {
  test.each([
    ['on a phone', PHONE],
    ['on a wide screen', WIDE],
    ['in dark mode', { ...WIDE, colorScheme: 'dark' as const }],
    ['in dark mode on a phone', { ...PHONE, colorScheme: 'dark' as const }],
  ])(
    'every page fits %s and can be read (WCAG AA), whatever it shows, without a complaint of the browser',
    async (_, options) => {
      const page = await browser.loggedIn(options);
      for (const path of [...(await allPages()), ...hard.paths]) {
        const answer = await page.goto(at(path));
        const tooWide = await page.evaluate('document.documentElement.scrollWidth > innerWidth + 1');
        expect([path, answer!.status(), tooWide]).toEqual([path, 200, false]);
        await page.evaluate("for (const frame of document.querySelectorAll('details')) frame.open = true");
        expect([path, await page.evaluate(FAINT_TEXTS)]).toEqual([path, []]);
      }
      const [paper, ink] = (await page.evaluate(
        'const s = getComputedStyle(document.body); [s.backgroundColor, s.color]',
      )) as [string, string];
      const brightness = (color: string) =>
        color
          .match(/\d+/g)!
          .slice(0, 3)
          .reduce((sum, part) => sum + Number(part), 0);
      expect(brightness(paper) < brightness(ink)).toBe('colorScheme' in options);
    },
  );

  test('a menu lies over what is below, moves nothing, and closes when one goes on elsewhere', async () => {
    const page = await browser.loggedIn(WIDE);
    await page.goto(at(`/units/${fleet.unit.systemId}`));
    const below = page.getByRole('heading', { name: 'Instances' });
    const before = await below.boundingBox();
    await page.getByText('Change', { exact: true }).first().click();
    await page.getByRole('button', { name: 'Remove' }).waitFor();
    expect(await below.boundingBox()).toEqual(before);
    await below.click();
    await page.getByRole('button', { name: 'Remove' }).waitFor({ state: 'hidden' });
  });

  test('on paper there is what a page shows, black on white, and nothing to click', async () => {
    const page = await browser.loggedIn({ colorScheme: 'dark' });
    await page.goto(at(`/units/${fleet.unit.systemId}`));
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    expect(await page.locator('main').getByRole('rowheader', { name: 'telemetry' }).first().isVisible()).toBe(true);
    for (const button of await page.locator('button, summary, nav').all()) expect(await button.isVisible()).toBe(false);
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    expect(await page.evaluate(FAINT_TEXTS)).toEqual([]);
  });

  test('names that would be markup or turn the text around are shown as text', async () => {
    const hostile = '<img src=x onerror=alert(1)>\u202egnp.exe';
    await fleet.cloud.must('PUT', `/api/subjects/${encodeURIComponent(hostile)}`, { title: hostile });
    const page = await browser.loggedIn();
    await page.goto(at('/groups'));
    await page.getByRole('heading', { name: '<img src=x onerror=alert(1)>' }).waitFor();
    expect(await page.locator('main img').count()).toBe(0);
    expect(await page.content()).not.toContain('\u202e');
    await fleet.cloud.must('DELETE', `/api/subjects/${encodeURIComponent(hostile)}`);
  });

  test('what the browser loads is small and comes from the cloud alone', async () => {
    const page = await browser.loggedIn();
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    const monitoring = `/units/${fleet.unit.systemId}/monitoring`;
    await page.goto(at(monitoring), { waitUntil: 'load' });
    let bytes = 0;
    for (const path of [
      monitoring,
      '/assets/style.css',
      '/assets/page.js',
      '/assets/chart-tips.js',
      '/assets/publish.js',
    ]) {
      bytes += gzipSync(await (await browser.context.request.get(at(path))).body()).length;
    }
    expect(urls.every((url) => url.startsWith(fleet.cloud.endpoints.restUrl))).toBe(true);
    expect(bytes).toBeLessThan(150 * 1024);
  });
});

/** A browser that looks at the web page of a cloud. Needs Debian's chromium. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import type { TestCloud } from '../../src/cloud/cloud-for-tests.ts';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];
export const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

export class WebBrowser {
  /** Where files of a test may lie; it goes with the browser. */
  readonly directory: string;
  readonly #cloud: TestCloud;
  #context: BrowserContext | undefined;
  /** What browsers have complained of: blocked by the policy, not found, thrown. */
  #complaints: string[] = [];

  private constructor(cloud: TestCloud, directory: string) {
    this.#cloud = cloud;
    this.directory = directory;
  }

  static async for(cloud: TestCloud): Promise<WebBrowser> {
    return new WebBrowser(cloud, await mkdtemp(join(tmpdir(), 'aos-web-')));
  }

  /** The browser that was opened last. */
  get context(): BrowserContext {
    if (!this.#context) throw new Error('no browser was opened');
    return this.#context;
  }

  /** A new browser, whose only page is not logged in. */
  async open(options: BrowserContextOptions = {}): Promise<Page> {
    await this.#context?.close();
    this.#context = await chromium.launchPersistentContext(await mkdtemp(join(this.directory, 'user-')), {
      ...{ executablePath: '/usr/bin/chromium', args: FLAGS, ignoreHTTPSErrors: true, ...options },
    });
    const page = await this.#context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error') this.#complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.#complaints.push(String(error)));
    return page;
  }

  async loggedIn(options: BrowserContextOptions = {}): Promise<Page> {
    const page = await this.open(options);
    const { url } = await this.#cloud.must<{ url: string }>('POST', '/api/login-tokens');
    await logIn(page, url);
    return page;
  }

  /** Fails when browsers have complained since the last time; complaints with `expected` in them are none. */
  expectNoComplaints(expected?: string): void {
    const said = this.#complaints.filter((text) => expected === undefined || !text.includes(expected));
    this.#complaints = [];
    expect(said).toEqual([]);
  }

  async close(): Promise<void> {
    await this.#context?.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Follows the address that `aosctl login` prints. */
export async function logIn(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.getByRole('button', { name: 'Log in as' }).click();
  await page.waitForURL(({ pathname }) => pathname === '/');
}

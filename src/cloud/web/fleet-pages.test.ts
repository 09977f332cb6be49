/** The fleet at a glance, when it is a large one. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { RestParts } from '../rest/parts.ts';
import { type CloudDatabase, openCloudDatabase } from '../store/cloud-database.ts';
import type { Html } from './html.ts';
import { pageAt } from './page-models.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const OEM = { name: 'operator', role: 'oem', scope: '' } as const;

let directory: string;
let database: CloudDatabase;
let parts: RestParts;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-cloud-pages-'));
  const bounds = { maxAgeMs: 1000, maxCount: 1000, maxBytes: 1000 };
  const limits = { messages: 10, samples: bounds, logs: bounds, alerts: 10 };
  database = await openCloudDatabase(join(directory, 'cloud.db'), limits, silentLogger);
  for (let index = 0; index < 250; index += 1) {
    const systemId = `unit-${String(index).padStart(3, '0')}`;
    const registration = { modelName: index % 2 === 0 ? 'tram' : 'car', modelVersion: '', nodes: [], secureData: '{}' };
    const request = { systemId, ...registration, requestDigest: systemId, answer: {} };
    await database.write(({ units }) => units.register(request, NOW));
  }
  const fleet = { isOnline: (systemId: string) => systemId < 'unit-010' };
  parts = { database, fleet, now: () => NOW, restUrl: () => '', pkiDirectory: '' } as unknown as RestParts;
});

afterAll(async () => {
  await database.stop();
  await rm(directory, { recursive: true, force: true });
});

async function at(address: string): Promise<string> {
  const url = new URL(address, 'https://cloud');
  const page = await database.read((stores) => pageAt(parts, stores, OEM, url));
  return (page.body as Html).text;
}
const rows = (page: string): string[] => [...page.matchAll(/id="unit-(unit-\d+)"/g)].map((match) => match[1]!);

describe('[P-13] a large fleet', () => {
  test('is shown page by page, each unit once, with the totals of all', async () => {
    const seen: string[] = [];
    let address: string | undefined = '/';
    while (address !== undefined) {
      const page: string = await at(address);
      expect(page).toMatch(/<dt>Units<\/dt><dd>250<\/dd>.*<dt>Online<\/dt><dd>10<\/dd>/s);
      expect(rows(page).length).toBeLessThanOrEqual(100);
      seen.push(...rows(page));
      address = /<a href="([^"]+)">Next page/.exec(page)?.[1]?.replaceAll('&amp;', '&');
    }
    expect(seen).toHaveLength(250);
    expect(new Set(seen).size).toBe(250);
  });

  test('is searched by name, model and state; the search stays from page to page', async () => {
    expect(rows(await at('/?q=unit-24'))).toHaveLength(10);
    expect(rows(await at('/?q=online'))).toHaveLength(10);
    const trams = await at('/?q=TRAM');
    expect(rows(trams)).toHaveLength(100);
    expect(trams).toContain('q=TRAM');
    expect(trams).toContain('Next page');
    expect(await at('/?q=nobody')).toContain('No unit is like');
  });

  test('what was searched for is text, whatever it is', async () => {
    const page: string = await at(`/?q=${encodeURIComponent('"><script>alert(1)</script>')}`);
    expect(page).not.toContain('<script>');
  });
});

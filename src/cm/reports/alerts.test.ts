import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { type Alert, type Alerts, decodeUnitMessage, encodeEnvelope } from '../../protocol/index.ts';
import { RecordingLink } from '../link/recording-link-for-tests.ts';
import { type AlertContent, Event, type NodeAlert } from '../nodes/index.ts';
import { AlertCache } from './alert-cache.ts';
import { AlertReports, resourceAlert } from './index.ts';
import { writeAlert } from './write-alert.ts';

const AT = new Date('2026-05-04T10:21:01.000Z');
const LIMITS = { cached: 4, perMessage: 2, messageBytes: 2000 };
const ident = { itemId: 'i', subjectId: 's', instance: 1, type: 'service', preinstalled: false } as const;

const write = (content: AlertContent) => writeAlert({ nodeId: 'node-a', timestamp: AT, content }, AT);
const system = (message: string): Alert => write({ tag: 'systemAlert', message });
const quota = (value: number): Alert => write({ tag: 'systemQuotaAlert', parameter: 'ram', value, state: 'raise' });
const crash = (message: string): Alert => write({ tag: 'updateItemInstanceAlert', ident, version: '1.0.0', message });
const progress = (downloadedBytes: number): Alert => ({
  timestamp: '2026-05-04T10:21:01.000000Z',
  tag: 'downloadProgressAlert',
  digest: 'd',
  url: 'u',
  downloadedBytes,
  totalBytes: 9,
  state: 'started',
});

const texts = (alerts: readonly Alert[]) => alerts.map((alert) => ('message' in alert ? alert.message : alert.tag));

describe('the cache', () => {
  test('[CM-122] an alert that is equal to a waiting one, apart from its time, is counted once', () => {
    const cache = new AlertCache(LIMITS);
    cache.add(system('a'));
    cache.add({ ...system('a'), timestamp: '2027-01-01T00:00:00.000000Z' });
    cache.add(system('b'));
    const { parts, duplicates } = cache.take();
    expect(parts.flatMap(texts)).toEqual(['a', 'b']);
    expect(duplicates).toBe(1);
    cache.add(system('a'));
    expect(cache.take().parts.flatMap(texts)).toEqual(['a']);
  });

  test('[CM-121] when the cache is full the oldest of the lowest class gives way', () => {
    const cache = new AlertCache(LIMITS);
    for (const alert of [crash('crash 1'), progress(1), system('journal 1'), progress(2), quota(1)]) cache.add(alert);
    cache.add(system('journal 2'));
    cache.add(crash('crash 2'));
    cache.add(progress(3));
    const { parts, dropped } = cache.take();
    expect(parts.flatMap(texts)).toEqual(['crash 1', 'systemQuotaAlert', 'journal 2', 'crash 2']);
    expect(dropped).toBe(4);
  });

  test('[CM-121] a storm of ten thousand alerts, each another or all the same, costs a bounded cache and loses no crash', () => {
    const cache = new AlertCache({ ...LIMITS, cached: 256 });
    cache.add(crash('the only crash'));
    for (let n = 0; n < 10_000; n += 1) cache.add(system(`no ${n}`));
    for (let n = 0; n < 10_000; n += 1) cache.add(system('no 9999'));
    expect(cache.size).toBe(256);
    const { parts, dropped, duplicates } = cache.take();
    expect({ dropped, duplicates }).toEqual({ dropped: 10_001 - 256, duplicates: 10_000 });
    expect(parts.flatMap(texts).slice(0, 2)).toEqual(['the only crash', 'no 9745']);
    expect(cache.isEmpty).toBe(true);
  });

  test('[CM-122] messages hold at most so many alerts and bytes, and nothing is lost between them', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ maxLength: 900 }), { maxLength: 10 }), (messages) => {
        const cache = new AlertCache({ ...LIMITS, cached: 100 });
        const alerts = messages.map(system);
        for (const alert of alerts) cache.add(alert);
        const { parts } = cache.take();
        expect(parts.flat()).toEqual(alerts);
        for (const part of parts) {
          expect(part.length).toBeLessThanOrEqual(LIMITS.perMessage);
          const bytes = part.reduce((sum, alert) => sum + Buffer.byteLength(JSON.stringify(alert)), 0);
          expect(part.length === 1 || bytes <= LIMITS.messageBytes).toBe(true);
        }
      }),
    );
  });
});

describe('what service managers say', () => {
  test('[CM-123] every kind of alert is one that the cloud can read', () => {
    const items: Alert[] = [
      system('remounting read-only'),
      write({ tag: 'coreAlert', coreComponent: 'sm', message: 'no network' }),
      write({ tag: 'coreAlert', coreComponent: 'dnsmasq', message: 'gone' }),
      write({ tag: 'resourceAllocateAlert', ident, deviceId: 'can0', message: 'all shares taken' }),
      resourceAlert({ ident, nodeId: 'node-a', resource: 'can0' }, 'all shares are taken', AT),
      quota(8),
      write({ tag: 'instanceQuotaAlert', ident, parameter: 'cpu', value: 9, state: 'fall' }),
      progress(1),
      crash('process exited with code 3'),
    ];
    const frame = encodeEnvelope({ txn: 't', systemId: 'u', createdAt: AT, data: { messageType: 'alerts', items } });
    const { data } = decodeUnitMessage(frame);
    expect((data as Alerts).items).toEqual(items);
    expect(items.map(({ tag }) => tag)).toEqual([
      'systemAlert',
      'coreAlert',
      'systemAlert',
      'resourceAllocateAlert',
      'resourceAllocateAlert',
      'systemQuotaAlert',
      'instanceQuotaAlert',
      'downloadProgressAlert',
      'updateItemInstanceAlert',
    ]);
    expect(JSON.stringify(items)).not.toMatch(/raise|fall/);
  });

  test('a long text is cut at a character', () => {
    const [text] = texts([system('ä'.repeat(300))]);
    expect(text).toBe('ä'.repeat(128));
  });
});

describe('the reports', () => {
  function open(link: RecordingLink) {
    const alerts = new Event<NodeAlert>('alerts', silentLogger);
    const reports = new AlertReports({
      link,
      onAlert: alerts.subscribe,
      mainNodeId: () => 'node-main',
      sendPeriodMs: 5,
      logger: silentLogger,
    });
    reports.start();
    return { alerts, reports };
  }

  const said = (message: string): NodeAlert => ({ nodeId: 'node-a', content: { tag: 'systemAlert', message } });

  test('[CM-122] alerts of nodes and of the CM itself are packed per period', async () => {
    const link = new RecordingLink();
    const { alerts, reports } = open(link);
    alerts.emit(said('a'));
    reports.add(progress(1));
    await vi.waitFor(() => expect(link.sent).toHaveLength(1));
    expect(texts((link.sent[0] as Alerts).items)).toEqual(['a', 'downloadProgressAlert']);
    reports.stop();
  });

  test('[CM-121] while offline alerts wait, and what had to give way is told when the link is back', async () => {
    const link = new RecordingLink();
    link.setConnected(false);
    const { alerts, reports } = open(link);
    for (let count = 0; count < 260; count += 1) alerts.emit(said(`alert ${count}`));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(link.sent).toEqual([]);
    link.setConnected(true);
    await vi.waitFor(() => expect(link.sent).toHaveLength(17));
    const all = link.sent.flatMap((message) => [...(message as Alerts).items]);
    expect(texts(all.slice(0, -1))).toEqual(Array.from({ length: 256 }, (_, index) => `alert ${index + 4}`));
    expect(all.at(-1)).toMatchObject({
      tag: 'coreAlert',
      coreComponent: 'CM',
      node: { codename: 'node-main' },
      message: '4 alerts were dropped: more than 256 waited for the cloud',
    });
    reports.stop();
  });
});

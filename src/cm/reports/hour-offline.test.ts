/** The unit is without its cloud for an hour; nobody waits for it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Clock, silentLogger, systemClock } from '../../core/index.ts';
import type { Alert, Alerts, MonitoringData } from '../../protocol/index.ts';
import { RecordingLink } from '../link/recording-link-for-tests.ts';
import type { InstanceStatus, NodeInfo } from '../model.ts';
import { Event, type NodeAlert, type NodeMonitoring } from '../nodes/index.ts';
import { AlertReports } from './alert-reports.ts';
import { MonitoringReports } from './monitoring-reports.ts';

const POLL_MS = 35_000;
const POLLS = 102;
/** Of one node or instance (spec/cm.md 8.1). */
const SAMPLES_KEPT = 16;

const ident = { itemId: 'radio', subjectId: 's', instance: 0, type: 'service', preinstalled: false } as const;
const clock: Clock = { ...systemClock, now: () => new Date() };

beforeEach(() => {
  vi.useFakeTimers({ now: new Date('2026-05-04T10:00:00.000Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

test('[CM-121] after an hour offline the cloud gets the newest samples, every state and every alert, in order, with their times', async () => {
  const link = new RecordingLink();
  const events = {
    samples: new Event<NodeMonitoring>('monitoring', silentLogger),
    nodes: new Event<NodeInfo>('nodes', silentLogger),
    instances: new Event<readonly InstanceStatus[]>('instances', silentLogger),
    alerts: new Event<NodeAlert>('alerts', silentLogger),
  };
  const monitoring = new MonitoringReports({
    ...{ link, sendPeriodMs: 60_000, logger: silentLogger, clock },
    onMonitoring: events.samples.subscribe,
    onNode: events.nodes.subscribe,
    onInstances: events.instances.subscribe,
  });
  const alerts = new AlertReports({
    ...{ link, sendPeriodMs: 10_000, logger: silentLogger, clock },
    onAlert: events.alerts.subscribe,
    mainNodeId: () => 'main',
  });
  monitoring.start();
  alerts.start();
  link.setConnected(false);

  const state = (is: InstanceStatus['state']): InstanceStatus => {
    return { ident, version: '1.0.0', nodeId: 'main', runtimeId: 'r', manifestDigest: '', state: is };
  };
  const usage = (ram: number) => ({ ram, cpu: 1, download: 0, upload: 0, partitions: [], timestamp: new Date() });
  events.instances.emit([state('active')]);
  for (let poll = 1; poll <= POLLS; poll += 1) {
    await vi.advanceTimersByTimeAsync(POLL_MS);
    events.samples.emit({
      nodeId: 'main',
      node: usage(poll),
      instances: [{ ident, runtimeId: 'r', usage: usage(poll) }],
    });
    const content = { tag: 'systemQuotaAlert', parameter: 'ram', value: poll, state: 'continue' } as const;
    events.alerts.emit({ nodeId: 'main', timestamp: new Date(), content });
    if (poll === 50) events.instances.emit([state('failed')]);
    if (poll === 51) events.instances.emit([state('active')]);
  }
  await vi.advanceTimersByTimeAsync(3_600_000 - POLLS * POLL_MS);
  expect(link.sent).toEqual([]);

  link.setConnected(true);
  await vi.advanceTimersByTimeAsync(60_000);
  const newest = Array.from({ length: SAMPLES_KEPT }, (_, index) => POLLS - SAMPLES_KEPT + 1 + index);
  const dateOf = (poll: number) => new Date(Date.UTC(2026, 4, 4, 10) + poll * POLL_MS).getTime();
  const measured = link.sent.filter(({ messageType }) => messageType === 'monitoringData') as MonitoringData[];
  expect(measured).toHaveLength(1);
  for (const entry of [measured[0]!.nodes[0]!, measured[0]!.instances![0]!]) {
    expect(entry.items.map(({ ram }) => ram)).toEqual(newest);
    expect(entry.items.map(({ timestamp }) => Date.parse(timestamp))).toEqual(newest.map(dateOf));
  }
  const states = measured[0]!.instances![0]!.itemStates;
  expect(states.map((entry) => [entry.state, Date.parse(entry.timestamp)])).toEqual([
    ['active', dateOf(0)],
    ['failed', dateOf(50)],
    ['active', dateOf(51)],
  ]);
  const told = link.sent
    .filter(({ messageType }) => messageType === 'alerts')
    .flatMap((message) => [...(message as Alerts).items]);
  const number = (alert: Alert) => [
    alert.tag === 'systemQuotaAlert' ? alert.value : alert.tag,
    Date.parse(alert.timestamp),
  ];
  expect(told.map(number)).toEqual(Array.from({ length: POLLS }, (_, index) => [index + 1, dateOf(index + 1)]));

  // Nothing is told twice.
  const before = link.sent.length;
  await vi.advanceTimersByTimeAsync(600_000);
  expect(link.sent).toHaveLength(before);
  monitoring.stop();
  alerts.stop();
});

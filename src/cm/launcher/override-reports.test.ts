import { expect, test } from 'vitest';
import { type InstanceIdent, silentLogger } from '../../core/index.ts';
import type { ReportedInstance } from '../nodes/index.ts';
import { OverrideReports } from './override-reports.ts';

const ident = (itemId: string): InstanceIdent => ({
  ...{ itemId, subjectId: 'subject', instance: 0, type: 'service' },
  preinstalled: false,
});
const withVariable = (itemId: string): ReportedInstance => ({
  ident: ident(itemId),
  version: '1.0.0',
  runtimeId: 'runc',
  manifestDigest: '',
  state: 'active',
  envVars: [{ name: 'A' }],
});

test('[CM-81] an instance that left a node which does not come back is told once, one that is gone not at all', () => {
  const reports = new OverrideReports(silentLogger);
  const told: string[][] = [];
  reports.subscribe((list) => told.push(list.map(({ ident: { itemId }, name }) => `${itemId} ${name}`)));
  const places = new Map([['n1', [ident('a'), ident('b')]]]);
  const identsOf = (nodeId: string) => places.get(nodeId) ?? [];
  reports.take('n1', [withVariable('a'), withVariable('b')]);
  reports.publish(identsOf);
  places.clear();
  places.set('n2', [ident('a')]);
  reports.take('n2', [withVariable('a')]);
  reports.publish(identsOf);
  expect(told).toEqual([['a A', 'b A'], ['a A']]);
});

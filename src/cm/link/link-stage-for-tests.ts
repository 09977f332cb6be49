import { afterEach, beforeEach, expect, vi } from 'vitest';
import type { Alerts, UnitMessage, UnitStatus } from '../../protocol/index.ts';
import { FakeCloud } from './cloud-for-tests.ts';
import type { CloudLink, CloudLinkOptions } from './cloud-link.ts';
import { makeLink } from './link-for-tests.ts';

export let cloud: FakeCloud;
export let links: CloudLink[];

beforeEach(async () => {
  links = [];
  cloud = await FakeCloud.open();
});

afterEach(async () => {
  await Promise.all(links.map((link) => link.stop()));
  await cloud.close();
});

export const fullStatus: UnitStatus = { messageType: 'unitStatus', isDeltaInfo: false, items: [] };

export function open(options: Partial<CloudLinkOptions> = {}, url = cloud.discoveryUrl): CloudLink {
  const link = makeLink(url, options);
  link.setOpening(async () => fullStatus);
  links.push(link);
  link.start();
  return link;
}

export const alerts = (message: string): Alerts => ({
  messageType: 'alerts',
  items: [{ timestamp: '2026-05-04T10:21:01.000000Z', tag: 'systemAlert', node: { codename: 'n' }, message }],
});

export const newState = (state: string): UnitMessage => ({
  messageType: 'newState',
  item: { id: 'i' },
  subject: { id: 's' },
  instance: 0,
  stateChecksum: '00',
  state,
});

export const text = (message: UnitMessage | undefined) =>
  message?.messageType === 'alerts' ? (message.items[0] as { message: string }).message : message?.messageType;

export const connected = (link: CloudLink) => vi.waitFor(() => expect(link.connected).toBe(true));

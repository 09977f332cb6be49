import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { scheduler } from '../../api/contracts.ts';
import { ApiServer, Channel } from '../../api/index.ts';
import { AosError, silentLogger } from '../../core/index.ts';
import { mergeDesired } from './desired.ts';
import { desiredStatus, itemStatus } from './desired-for-tests.ts';
import { schedulerRoutes } from './scheduler-service.ts';
import type { UpdateProgress } from './update-manager.ts';

const { UpdateState } = scheduler;

let server: ApiServer;
let channel: Channel;
let abort: AbortController;
const watchers = new Set<(progress: UpdateProgress) => void>();
let progress: UpdateProgress;
let released: string[];
let waits: boolean;

function become(next: UpdateProgress): void {
  progress = next;
  for (const tell of watchers) tell(next);
}

beforeEach(async () => {
  progress = { state: 'none' };
  released = [];
  waits = true;
  abort = new AbortController();
  const [entry] = desiredStatus({ fw: '2' }).items!;
  const items = [...desiredStatus({ web: '2' }).items!, { ...entry!, item: { id: 'fw', type: 'component' as const } }];
  const desired = mergeDesired(desiredStatus({ web: '2' }, { items }));
  server = await ApiServer.open({
    listen: '127.0.0.1:0',
    logger: silentLogger,
    routes: schedulerRoutes({
      watch: (listener) => {
        watchers.add(listener);
        listener(progress);
        return () => watchers.delete(listener);
      },
      desired: () => desired,
      items: () => [itemStatus('web', '1'), itemStatus('old', '1')],
      release: (kind) => {
        if (!waits) throw new AosError('wrongState', 'no update waits for its release');
        released.push(kind);
      },
      logger: silentLogger,
    }),
  });
  channel = new Channel({ address: `127.0.0.1:${server.address.port}` });
});

afterEach(async () => {
  abort.abort();
  channel.close();
  await server.close();
});

const client = () => channel.client(scheduler.UpdateSchedulerService);

/** Notes what a subscriber hears: `sota 1`. */
function subscribe() {
  const heard: string[] = [];
  const values: unknown[] = [];
  const listen = async () => {
    for await (const { SchedulerNotification: told } of client().subscribeNotifications({}, { signal: abort.signal })) {
      heard.push(`${told.case === 'sotaStatus' ? 'sota' : 'fota'} ${UpdateState[told.value!.state]}`);
      values.push(told.value);
    }
  };
  listen().catch(() => heard.push('end'));
  return { heard, values };
}

describe('a client of the update scheduler', () => {
  test('[CM-33] sees no update, downloading, ready to update, updating, and no update again', async () => {
    const { heard, values } = subscribe();
    await vi.waitFor(() => expect(heard).toEqual(['sota NO_UPDATE', 'fota NO_UPDATE']));
    for (const state of ['downloading', 'pending', 'installing', 'launching', 'activating', 'finalizing'] as const) {
      become({ state });
    }
    become({ state: 'none' });
    await vi.waitFor(() => expect(heard).toHaveLength(10));
    expect(heard.filter((line) => line.startsWith('sota'))).toEqual([
      'sota NO_UPDATE',
      'sota DOWNLOADING',
      'sota READY_TO_UPDATE',
      'sota UPDATING',
      'sota NO_UPDATE',
    ]);
    expect(values[2]).toMatchObject({
      installServices: [{ serviceId: 'web', version: '2' }],
      removeServices: [{ serviceId: 'old', version: '1' }],
    });
    expect(values[3]).toMatchObject({ components: [{ componentId: 'fw', version: '2' }] });
  });

  test('[CM-33] hears why an update ended early', async () => {
    const { values } = subscribe();
    become({ state: 'downloading' });
    become({ state: 'none', error: new AosError('noMemory', 'the disk is full') });
    await vi.waitFor(() => expect(values.at(-1)).toMatchObject({ error: { aosCode: 3, message: 'the disk is full' } }));
  });

  test('[CM-33] releases software and firmware, each for itself', async () => {
    await client().startSOTAUpdate({});
    await client().startFOTAUpdate({});
    expect(released).toEqual(['sota', 'fota']);
    waits = false;
    await expect(client().startSOTAUpdate({})).rejects.toThrow('no update waits');
  });

  test('that goes away is watched no longer', async () => {
    const { heard } = subscribe();
    await vi.waitFor(() => expect(watchers.size).toBe(1));
    abort.abort();
    await vi.waitFor(() => expect(watchers.size).toBe(0));
    expect(heard.at(-1)).toBe('end');
  });
});

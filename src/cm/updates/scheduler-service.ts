/**
 * `communicationmanager.v3.UpdateSchedulerService`: what an update screen or the logic of a vehicle sees of updates, and
 * how it releases them (spec/product.md CM-33, spec/decisions.md C-78).
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { scheduler } from '../../api/contracts.ts';
import { asAosError, ERROR_CODES, type Logger, Mailbox, type UpdateState } from '../../core/index.ts';
import type { ItemStatus } from '../model.ts';
import { UPDATE } from '../numbers.ts';
import type { Desired } from './desired-model.ts';
import type { UpdateKind } from './release-rules.ts';
import type { UpdateProgress } from './update-manager.ts';

export interface SchedulerOptions {
  readonly watch: (listener: (progress: UpdateProgress) => void) => () => void;
  readonly desired: () => Desired | undefined;
  readonly items: () => readonly ItemStatus[];
  /** Throws `wrongState` when nothing waits. */
  readonly release: (kind: UpdateKind, by: string) => void;
  readonly logger: Logger;
}

const STATES: Readonly<Record<UpdateState, scheduler.UpdateState>> = {
  none: scheduler.UpdateState.NO_UPDATE,
  downloading: scheduler.UpdateState.DOWNLOADING,
  pending: scheduler.UpdateState.READY_TO_UPDATE,
  installing: scheduler.UpdateState.UPDATING,
  launching: scheduler.UpdateState.UPDATING,
  activating: scheduler.UpdateState.UPDATING,
  finalizing: scheduler.UpdateState.UPDATING,
};

type Notification = MessageInitShape<typeof scheduler.SchedulerNotificationsSchema>;

export function schedulerRoutes(options: SchedulerOptions): (router: ConnectRouter) => void {
  const { release } = options;
  return (router) => {
    router.service(scheduler.UpdateSchedulerService, {
      startSOTAUpdate: async () => {
        release('sota', 'a client of the update scheduler');
        return {};
      },
      startFOTAUpdate: async () => {
        release('fota', 'a client of the update scheduler');
        return {};
      },
      subscribeNotifications: (_, { signal }) => notifications(options, signal),
    });
  };
}

/** Both statuses at once and at each change; stages that look the same from outside are told once. */
async function* notifications(
  { watch, desired, items, logger }: SchedulerOptions,
  signal: AbortSignal,
): AsyncGenerator<Notification> {
  const outbox = new Mailbox<UpdateProgress>(UPDATE.maxUntoldStages);
  let last = '';
  const end = () => outbox.close();
  signal.addEventListener('abort', end, { once: true });
  const unwatch = watch((progress) => {
    const seen = JSON.stringify([STATES[progress.state], progress.error?.message]);
    if (seen === last) return;
    last = seen;
    try {
      outbox.push(progress);
    } catch (error) {
      // Who does not listen for so long is better off with a new subscription, which begins with the present state.
      logger.warn({ error: asAosError(error).message }, 'a client of the update scheduler does not listen');
      outbox.close();
    }
  });
  try {
    for await (const progress of outbox) {
      yield sotaStatus(progress, desired(), items());
      yield fotaStatus(progress, desired());
    }
  } finally {
    unwatch();
    signal.removeEventListener('abort', end);
  }
}

function errorOf({ error }: UpdateProgress) {
  return error && { error: { aosCode: ERROR_CODES[error.code], exitCode: error.exitCode, message: error.message } };
}

function sotaStatus(
  progress: UpdateProgress,
  desired: Desired | undefined,
  items: readonly ItemStatus[],
): Notification {
  const runs = progress.state !== 'none';
  const services = desired?.items.filter(({ item }) => item.type === 'service') ?? [];
  const isThere = (id: string, version: string) =>
    items.some((row) => row.itemId === id && row.version === version && row.state === 'installed');
  const goes = items.filter(
    (row) =>
      row.type === 'service' && row.state === 'installed' && !services.some(({ item }) => item.id === row.itemId),
  );
  return {
    SchedulerNotification: {
      case: 'sotaStatus',
      value: {
        state: STATES[progress.state],
        ...(runs && {
          installServices: services
            .filter(({ item, version }) => !isThere(item.id, version))
            .map(({ item, version }) => ({ serviceId: item.id, version })),
          removeServices: goes.map(({ itemId, version }) => ({ serviceId: itemId, version })),
          ...(desired?.unitConfig && {
            unitConfig: { version: desired.unitConfig.version },
          }),
        }),
        ...errorOf(progress),
      },
    },
  };
}

function fotaStatus(progress: UpdateProgress, desired: Desired | undefined): Notification {
  const components = desired?.items.filter(({ item }) => item.type === 'component') ?? [];
  const runs = progress.state !== 'none' && components.length > 0;
  return {
    SchedulerNotification: {
      case: 'fotaStatus',
      value: {
        state: runs ? STATES[progress.state] : scheduler.UpdateState.NO_UPDATE,
        ...(runs && {
          components: components.map(({ item, version }) => ({ componentId: item.id, version })),
        }),
        ...errorOf(progress),
      },
    },
  };
}

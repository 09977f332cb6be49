/** Who hears of what: the modules of the CM know each other only through this. */
import { type EventSink, InstanceDiary } from './events/index.ts';
import type { IamClient } from './iam/index.ts';
import type { Modules } from './modules.ts';
import { overrideStatusOf, overridesOf } from './updates/index.ts';

export function connectModules(modules: Modules, iam: IamClient, events: EventSink): void {
  const { link, nodes, images, storage, controller, launcher, status, updates } = modules;
  iam.onNode((node) => nodes.updateFromIam(node));
  iam.onSubjects((subjects) => launcher.setSubjects(subjects));
  iam.onSubjects((subjects) => status.subjectsChanged(subjects));
  nodes.subscribe((node) => status.nodeChanged(node));
  storage.onChecksum((ident, checksum) => launcher.setStateChecksum(ident, checksum));
  images.subscribe((items) => status.itemsChanged(items));
  launcher.subscribeToOverrides((reports) =>
    link.send(overrideStatusOf(reports), { replaces: 'overrideEnvVarsStatus' }),
  );
  launcher.subscribe((instances) => status.instancesChanged(instances));
  const failures = new InstanceDiary(events);
  launcher.subscribe((instances) => failures.take(instances));
  link.setOpening(
    async () => status.open(),
    (message) => {
      if (message.messageType === 'unitStatus') status.acknowledged(message);
    },
  );
  link.onConnection((connected) => status.connectionChanged(connected));
  link.onConnection((connected) => controller.setCloudConnected(connected));
  link.handle('desiredStatus', (message, { refused, createdAt }) =>
    updates.acceptInTime(message, refused, createdAt === undefined ? undefined : { source: 'cloud', createdAt }),
  );
  link.handle('stateAcceptance', (message) => storage.accept(message));
  link.handle('updateState', (message) => storage.update(message));
  link.handle('overrideEnvVars', (message) => launcher.setOverrides(overridesOf(message)));
}

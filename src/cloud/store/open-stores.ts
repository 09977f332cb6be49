/** The database of a cloud and what reads and writes it. */
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { AlertStore } from './alerts.ts';
import { CampaignStore } from './campaigns.ts';
import { CertificateStore } from './certificates.ts';
import { DeploymentStore } from './deployments.ts';
import { GroupCommit } from './group-commit.ts';
import { HistoryStore } from './history.ts';
import { InstanceStateStore } from './instance-states.ts';
import { ItemStore } from './items.ts';
import { type LogLimits, LogStore } from './log-parts.ts';
import { MessageLog } from './messages.ts';
import { MIGRATIONS } from './migrations.ts';
import { type SampleLimits, SampleStore } from './samples.ts';
import { SubjectStore } from './subjects.ts';
import { TargetConfigStore } from './target-configs.ts';
import { UnitSetStore } from './unit-sets.ts';
import { UnitStore } from './units.ts';
import { UserStore } from './users.ts';

/** How much is kept. */
export interface StoreLimits {
  /** Messages of one unit. */
  readonly messages: number;
  readonly samples: SampleLimits;
  readonly logs: LogLimits;
  /** Alerts of one unit. */
  readonly alerts: number;
}

export interface Stores {
  readonly database: DatabaseSync;
  /** For what comes from many units at once. */
  readonly group: GroupCommit;
  readonly units: UnitStore;
  readonly certificates: CertificateStore;
  readonly items: ItemStore;
  readonly deployments: DeploymentStore;
  readonly messages: MessageLog;
  readonly states: InstanceStateStore;
  readonly logs: LogStore;
  readonly users: UserStore;
  readonly unitSets: UnitSetStore;
  readonly subjects: SubjectStore;
  readonly campaigns: CampaignStore;
  readonly targetConfigs: TargetConfigStore;
  readonly samples: SampleStore;
  readonly alerts: AlertStore;
  readonly history: HistoryStore;
  stop(): void;
}

export async function openStores(path: string, limits: StoreLimits, logger: Logger): Promise<Stores> {
  const database = await openDatabase(path, MIGRATIONS, logger);
  const group = new GroupCommit(database, logger);
  return {
    ...{ database, group },
    units: new UnitStore(database),
    certificates: new CertificateStore(database),
    items: new ItemStore(database),
    deployments: new DeploymentStore(database),
    messages: new MessageLog(database, limits.messages, group),
    states: new InstanceStateStore(database),
    logs: new LogStore(database, limits.logs),
    users: new UserStore(database),
    unitSets: new UnitSetStore(database),
    subjects: new SubjectStore(database),
    campaigns: new CampaignStore(database),
    targetConfigs: new TargetConfigStore(database),
    samples: new SampleStore(database, limits.samples),
    alerts: new AlertStore(database, limits.alerts),
    history: new HistoryStore(database, group),
    stop: () => {
      group.flush();
      database.close();
    },
  };
}

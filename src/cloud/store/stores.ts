/** What one transaction sees of a cloud: all that reads and writes its database. */
import { AlertStore } from './alerts.ts';
import { CampaignStore } from './campaigns.ts';
import { CertificateStore } from './certificates.ts';
import { DeploymentStore } from './deployments.ts';
import { HistoryStore } from './history.ts';
import { InstanceStateStore } from './instance-states.ts';
import { ItemStore } from './items.ts';
import { type LogLimits, LogStore } from './log-parts.ts';
import { MessageLog } from './messages.ts';
import { type SampleLimits, SampleStore } from './samples.ts';
import type { Sql } from './sql.ts';
import { SubjectStore } from './subjects.ts';
import { TargetConfigStore } from './target-configs.ts';
import { UnitCounter } from './unit-counter.ts';
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

/** When it is time to look for what is too much; outlives the transactions. */
export interface Counters {
  readonly messages: UnitCounter;
  readonly samples: UnitCounter;
  readonly alerts: UnitCounter;
  readonly events: UnitCounter;
}

/** Old rows of a unit are removed this many at a time. */
const SLACK = 50;
const MESSAGES_SLACK = 100;

/** Counters of a process that has written nothing yet. */
export const newCounters = (): Counters => ({
  messages: new UnitCounter(MESSAGES_SLACK),
  samples: new UnitCounter(SLACK),
  alerts: new UnitCounter(SLACK),
  events: new UnitCounter(SLACK),
});

export interface Stores {
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
}

/** All stores in one transaction: they live as long as it does, the counters as long as the process. */
export function storesOf(sql: Sql, limits: StoreLimits, counters: Counters): Stores {
  return {
    units: new UnitStore(sql),
    certificates: new CertificateStore(sql),
    items: new ItemStore(sql),
    deployments: new DeploymentStore(sql),
    messages: new MessageLog(sql, limits.messages, counters.messages),
    states: new InstanceStateStore(sql),
    logs: new LogStore(sql, limits.logs),
    users: new UserStore(sql),
    unitSets: new UnitSetStore(sql),
    subjects: new SubjectStore(sql),
    campaigns: new CampaignStore(sql),
    targetConfigs: new TargetConfigStore(sql),
    samples: new SampleStore(sql, limits.samples, counters.samples),
    alerts: new AlertStore(sql, limits.alerts, counters.alerts),
    history: new HistoryStore(sql, counters.events),
  };
}

/** The database that the configuration names, and what other processes may share it. */
import { join } from 'node:path';
import type { Logger } from '../core/index.ts';
import { type Cluster, SingleProcess } from './cluster/cluster.ts';
import type { CloudConfig } from './config.ts';
import { CloudDatabase, openCloudDatabase } from './store/cloud-database.ts';
import type { StoreLimits } from './store/stores.ts';

export interface AnyDatabase {
  readonly database: CloudDatabase;
  /** Joins the other processes. */
  readonly openCluster: () => Promise<Cluster>;
}

export async function openAnyDatabase(config: CloudConfig, limits: StoreLimits, logger: Logger): Promise<AnyDatabase> {
  const { database: url, workingDir } = config;
  if (url === undefined) {
    const database = await openCloudDatabase(join(workingDir, 'cloud.db'), limits, logger);
    return { database, openCluster: async () => new SingleProcess() };
  }
  // Loaded by those alone who need it.
  const { PostgresDatabase } = await import('./store/postgresql/postgres-database.ts');
  const { PostgresCluster } = await import('./cluster/postgres-cluster.ts');
  const postgres = await PostgresDatabase.open({ url, logger });
  return {
    database: new CloudDatabase(postgres, limits, logger),
    openCluster: () => PostgresCluster.open({ database: postgres, logger }),
  };
}

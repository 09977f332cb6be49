/** aos-cloud: a self-hosted cloud for development, tests and small fleets. */
export { type Endpoints, startCloud } from './cloud.ts';
export { CloudConfig } from './config.ts';

/**
 * The generated contracts by package, so that equal message names stay apart:
 * `import { iam, sm, common } from '../api/contracts.ts'`.
 */
export * as common from './gen/common/v2/common_pb.js';
export * as scheduler from './gen/communicationmanager/v3/updatescheduler_pb.js';
export * as iam from './gen/iamanager/v6/iamanager_pb.js';
export * as iamVersion from './gen/iamanager/version_pb.js';
export * as network from './gen/servicemanager/v5/network_pb.js';
export * as sm from './gen/servicemanager/v5/servicemanager_pb.js';

/** Which messages there are, and in which direction they go (spec/cloud-protocol.md 7). */
import type { z } from 'zod';
import { Alerts } from './alerts.ts';
import { BlobUrls, RequestBlobUrls } from './blobs.ts';
import {
  InstallUnitCertificatesConfirmation,
  IssuedUnitCertificates,
  IssueUnitCertificates,
  RenewCertificatesNotification,
} from './certificates.ts';
import { DesiredStatus } from './desired-status.ts';
import { OverrideEnvVars, OverrideEnvVarsStatus } from './env-vars.ts';
import { NewState, StateAcceptance, StateRequest, UpdateState } from './instance-state.ts';
import { PushLog, RequestLog } from './logs.ts';
import { MonitoringData } from './monitoring.ts';
import {
  DeprovisioningRequest,
  DeprovisioningResponse,
  FinishProvisioningRequest,
  FinishProvisioningResponse,
  StartProvisioningRequest,
  StartProvisioningResponse,
} from './provisioning.ts';
import { Ack, Nack } from './receipts.ts';
import { UnitStatus } from './unit-status.ts';

export const CLOUD_TO_UNIT = {
  ack: Ack,
  nack: Nack,
  desiredStatus: DesiredStatus,
  blobUrls: BlobUrls,
  requestLog: RequestLog,
  stateAcceptance: StateAcceptance,
  updateState: UpdateState,
  overrideEnvVars: OverrideEnvVars,
  renewCertificatesNotification: RenewCertificatesNotification,
  issuedUnitCertificates: IssuedUnitCertificates,
  startProvisioningRequest: StartProvisioningRequest,
  finishProvisioningRequest: FinishProvisioningRequest,
  deprovisioningRequest: DeprovisioningRequest,
} as const;

export const UNIT_TO_CLOUD = {
  ack: Ack,
  unitStatus: UnitStatus,
  requestBlobUrls: RequestBlobUrls,
  monitoringData: MonitoringData,
  alerts: Alerts,
  pushLog: PushLog,
  newState: NewState,
  stateRequest: StateRequest,
  overrideEnvVarsStatus: OverrideEnvVarsStatus,
  issueUnitCertificates: IssueUnitCertificates,
  installUnitCertificatesConfirmation: InstallUnitCertificatesConfirmation,
  startProvisioningResponse: StartProvisioningResponse,
  finishProvisioningResponse: FinishProvisioningResponse,
  deprovisioningResponse: DeprovisioningResponse,
} as const;

type MessageOf<R extends Readonly<Record<string, z.ZodType>>> = { [K in keyof R]: z.output<R[K]> }[keyof R];

/** What the cloud sends. */
export type CloudMessage = MessageOf<typeof CLOUD_TO_UNIT>;
/** What the unit sends. */
export type UnitMessage = MessageOf<typeof UNIT_TO_CLOUD>;

export type CloudMessageType = CloudMessage['messageType'];
export type UnitMessageType = UnitMessage['messageType'];

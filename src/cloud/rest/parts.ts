/** What the REST interface works with. */
import type { Logger } from '../../core/index.ts';
import type { AccessChanges } from '../access/access-changes.ts';
import type { BlobVault } from '../blobs/blob-vault.ts';
import type { UploadLimits } from '../blobs/uploads.ts';
import type { Campaigns } from '../domain/campaigns.ts';
import type { RateLimit } from '../http/rate-limiter.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { Authority } from '../pki/authority.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { Fleet } from '../units/fleet.ts';
import type { NodeProvisioning } from '../units/node-provisioning.ts';

export interface RestParts {
  readonly authority: Authority;
  readonly database: CloudDatabase;
  readonly vault: BlobVault;
  readonly fleet: Fleet;
  readonly nodes: NodeProvisioning;
  readonly events: UnitEvents;
  readonly access: AccessChanges;
  readonly campaigns: Campaigns;
  readonly requireVerification: boolean;
  readonly uploadLimits: UploadLimits;
  /** Of each person, program and address. */
  readonly rateLimit: RateLimit;
  /** Where the authority keeps its files. */
  readonly pkiDirectory: string;
  /** Where this interface is. */
  readonly restUrl: () => string;
  readonly discoveryUrl: () => string;
  readonly hostName: string;
  readonly defaultOwner: string;
  readonly logger: Logger;
  readonly now: () => Date;
}

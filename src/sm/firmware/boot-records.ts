/**
 * Records of the boot runtime: `installed.json` and `pending.json`, with the members that every AosCore writes
 * (spec/sm.md 6.2, 6.5) and our own. The installed one is what the node goes back to; the pending one is the update.
 */
import { join } from 'node:path';
import * as z from 'zod';
import type { Logger } from '../../core/index.ts';
import type { SlotIndex } from '../../platform/boot/index.ts';
import type { ImageFacts, Installed, Pending, Phase } from './boot-state.ts';
import {
  COMPONENT_MEMBERS,
  componentFrom,
  componentMembers,
  JsonRecordFile,
  type RecordFile,
  recordForm,
  StoredErrorMember,
} from './record-file.ts';

export interface BootRecords {
  readonly installed: RecordFile<Installed>;
  readonly pending: RecordFile<Pending>;
}

const Common = z.object({
  ...COMPONENT_MEMBERS,
  partitionIndex: z.union([z.literal(0), z.literal(1)]),
  imageDigest: z.string().optional(),
  imageSize: z.int().min(1).optional(),
});

const InstalledForm = Common.extend({ isMirrored: z.boolean().default(true) });

const PendingForm = Common.extend({
  state: z.string().default('activating'),
  phase: z.enum(['writing', 'trying', 'returning', 'failed']).optional(),
  attempts: z.int().min(0).default(0),
  bootId: z.string().default(''),
  error: StoredErrorMember,
  isTried: z.boolean().default(true),
});

export function bootRecords(workingDir: string, logger: Logger): BootRecords {
  const installed = recordForm(
    InstalledForm,
    (members): Installed => ({
      component: componentFrom(members),
      slot: members.partitionIndex,
      image: imageFrom(members),
      isMirrored: members.isMirrored,
    }),
    ({ component, slot, image, isMirrored }) => ({ ...common(component, slot, image), state: 'active', isMirrored }),
  );
  const pending = recordForm(
    PendingForm,
    (members): Pending => ({
      component: componentFrom(members),
      slot: members.partitionIndex,
      // Without a phase it is of another AosCore, which notes no more than that it began (spec/sm.md T-44).
      phase: members.phase ?? (members.state === 'failed' ? 'failed' : 'trying'),
      attempts: members.attempts,
      bootId: members.bootId,
      image: imageFrom(members),
      error: members.error,
      isTried: members.isTried,
    }),
    ({ component, slot, image, phase, attempts, bootId, error, isTried }) => ({
      ...common(component, slot, image),
      state: stateOf(phase),
      ...{ phase, attempts, bootId, isTried, error },
    }),
  );
  return {
    installed: new JsonRecordFile(join(workingDir, 'installed.json'), installed, logger),
    pending: new JsonRecordFile(join(workingDir, 'pending.json'), pending, logger),
  };
}

function stateOf(phase: Phase): string {
  return phase === 'failed' || phase === 'returning' ? 'failed' : 'activating';
}

function common(component: Installed['component'], slot: SlotIndex, image: ImageFacts | undefined) {
  return {
    ...componentMembers(component),
    partitionIndex: slot,
    ...(image && { imageDigest: image.digest, imageSize: image.size }),
  };
}

function imageFrom({ imageDigest, imageSize }: z.output<typeof Common>): ImageFacts | undefined {
  return imageDigest === undefined || imageSize === undefined ? undefined : { digest: imageDigest, size: imageSize };
}

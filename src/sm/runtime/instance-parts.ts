/** What the supervision of one instance shares with that of all others. */
import type { Clock, Logger } from '../../core/index.ts';
import type { Cgroups } from '../../platform/cgroup/index.ts';
import type { ContainerEngine } from '../../platform/oci-runtime/index.ts';
import type { Slots } from '../slots.ts';
import type { ProbeWay, SupervisionStore } from '../supervision/index.ts';
import type { Measure } from './prepare-bundle.ts';
import type { ContainerRoots, InstanceChange } from './runtime-model.ts';

export interface InstanceParts {
  readonly engine: ContainerEngine;
  readonly cgroups: Cgroups;
  readonly roots: ContainerRoots;
  readonly store: SupervisionStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For starts. */
  readonly slots: Slots;
  /** For removals, which must not wait for starts. */
  readonly endSlots: Slots;
  readonly probeOnce: (id: string, netnsPath: string | undefined, way: ProbeWay, signal: AbortSignal) => Promise<void>;
  /** Hears of the steps of each stop. */
  readonly measure: Measure;
  /** Hears of each container that runs, before the next one is configured. */
  readonly launched: (id: string) => Promise<void>;
  readonly emit: (change: InstanceChange) => void;
}

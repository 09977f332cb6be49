/** Where a campaign stands, and what comes next. Pure. */
import { compareVersions } from '../../core/index.ts';
import type { UnitPicture } from '../model/unit-picture.ts';
import type { Campaign } from '../store/campaigns.ts';

export interface UnitProgress {
  readonly systemId: string;
  readonly state: 'updated' | 'pending' | 'failed';
  /** For a person. */
  readonly text: string;
}

export interface UnitFacts {
  readonly systemId: string;
  readonly online: boolean;
  readonly picture: UnitPicture;
}

export type Verdict =
  | { readonly do: 'wait'; readonly because: string }
  | { readonly do: 'advance' | 'complete' | 'stop'; readonly because: string };

const nameOf = ({ id, codename }: { readonly id?: string | undefined; readonly codename?: string | undefined }) =>
  id ?? codename ?? '';

/** How far a unit has come with a version: what it reports decides, not what it was told. */
export function progressOf({ systemId, online, picture }: UnitFacts, itemId: string, version: string): UnitProgress {
  const answer = (state: UnitProgress['state'], text: string): UnitProgress => ({ systemId, state, text });
  const item = picture.items?.find((entry) => nameOf(entry.item) === itemId && entry.version === version);
  if (item?.state === 'failed') return answer('failed', item.errorInfo?.message ?? 'it could not be installed');
  const instances = (picture.instances ?? [])
    .filter((group) => nameOf(group.item) === itemId && group.version === version)
    .flatMap((group) => group.instances);
  const broken = instances.find(({ state }) => state === 'failed');
  if (broken) return answer('failed', broken.errorInfo?.message ?? `instance ${broken.instance} failed`);
  const others = (picture.instances ?? []).some(
    (group) =>
      nameOf(group.item) === itemId && group.version !== version && group.instances.some((i) => i.state === 'active'),
  );
  const starting = instances.filter(({ state }) => state === 'activating').length;
  if (item?.state === 'installed' && starting === 0 && !others) return answer('updated', `runs ${version}`);
  if (!online) return answer('pending', 'is offline');
  return answer('pending', item ? item.state : 'was told');
}

/** What becomes of a running campaign whose current stage stands so. */
export function judgeCampaign(
  { stage, stages, automatic }: Pick<Campaign, 'stage' | 'stages' | 'automatic'>,
  units: readonly UnitProgress[],
): Verdict {
  const failed = units.find(({ state }) => state === 'failed');
  if (failed) return { do: 'stop', because: `unit ${failed.systemId} failed: ${failed.text}` };
  const pending = units.filter(({ state }) => state === 'pending');
  if (pending.length > 0) {
    const names = pending.slice(0, 3).map(({ systemId, text }) => `${systemId} (${text})`);
    const more = pending.length > names.length ? ` and ${pending.length - names.length} more` : '';
    return { do: 'wait', because: `waits for ${names.join(', ')}${more}` };
  }
  if (stage + 1 >= stages.length) return { do: 'complete', because: 'all stages run the version' };
  if (!automatic) return { do: 'wait', because: `stage ${stages[stage]} is done; the next one waits for a person` };
  return { do: 'advance', because: `stage ${stages[stage]} is done` };
}

/** Whether a unit that is to have `current` (undefined: not at all) takes part in a campaign for `version`. */
export function takesPart(current: string | undefined, version: string): boolean {
  return current !== undefined && compareVersions(current, version) < 0;
}

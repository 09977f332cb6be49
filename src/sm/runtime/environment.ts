/** The environment of a container (spec/sm.md 5.6, spec/product.md 4.5). Pure. */
import { AosError, type InstanceIdent, instanceId } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';
import { BASE_ENVIRONMENT } from './oci-base.ts';

/** All variables together, as the kernel counts them (spec/decisions.md C-53). */
const MAX_ENVIRONMENT_BYTES = 128 * 1024;

export interface EnvironmentSources {
  readonly ident: InstanceIdent;
  readonly image: readonly string[];
  /** Shown to functional servers; only when the item has permissions. */
  readonly secret?: string | undefined;
  readonly resources: readonly string[];
  readonly overrides: InstanceInfo['envVars'];
}

/**
 * `NAME=value` in the order of the specification: a later source replaces a name in its place. Throws
 * `invalidArgument` when all of it is larger than a program can take, naming the sum.
 */
export function buildEnvironment(sources: EnvironmentSources): string[] {
  const { ident } = sources;
  const variables = new Map<string, string>();
  const put = (entry: string) => {
    const end = entry.indexOf('=');
    const name = (end < 0 ? entry : entry.slice(0, end)).trim();
    variables.set(name, end < 0 ? '' : entry.slice(end + 1));
  };
  BASE_ENVIRONMENT.forEach(put);
  put(`AOS_ITEM_ID=${ident.itemId}`);
  put(`AOS_SUBJECT_ID=${ident.subjectId}`);
  put(`AOS_INSTANCE_INDEX=${ident.instance}`);
  put(`AOS_INSTANCE_ID=${instanceId(ident)}`);
  sources.image.forEach(put);
  if (sources.secret !== undefined) put(`AOS_SECRET=${sources.secret}`);
  sources.resources.forEach(put);
  for (const { name, value } of sources.overrides) put(`${name}=${value}`);

  const environment = [...variables].map(([name, value]) => `${name}=${value}`);
  const bytes = environment.reduce((sum, entry) => sum + Buffer.byteLength(entry) + 1, 0);
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    throw new AosError('invalidArgument', `environment of ${bytes} bytes, at most ${MAX_ENVIRONMENT_BYTES}`);
  }
  return environment;
}

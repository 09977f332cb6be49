/** What the runtimes of firmware, `boot` and `rootfs`, have in common (spec/sm.md 6). */
import {
  AosError,
  compareVersions,
  ERROR_CODES,
  type ErrorCode,
  type InstanceIdent,
  instanceKey,
  instanceName,
  toErrorInfo,
} from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo } from '../model.ts';

/** A version of the firmware of one runtime. */
export interface Component {
  readonly ident: InstanceIdent;
  readonly version: string;
  /** Empty: it came with the node. */
  readonly manifestDigest: string;
}

/** An error that outlives the process. */
export interface StoredError {
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly message: string;
}

export function storeError({ code, exitCode, message }: AosError): StoredError {
  return { code, exitCode, message };
}

export function restoreError({ code, exitCode, message }: StoredError): AosError {
  return new AosError(code in ERROR_CODES ? code : 'failed', message, { exitCode });
}

/** What came with the node: its item is called like the runtime, its subject like the type of the node. */
export function defaultIdent(type: string, { nodeType }: Pick<NodeInfo, 'nodeType'>): InstanceIdent {
  return { itemId: type, subjectId: nodeType, instance: 0, type: 'component', preinstalled: true };
}

export function componentOf({ ident, version, manifestDigest }: InstanceInfo): Component {
  return { ident, version, manifestDigest };
}

export function isSame(a: Component, b: Component): boolean {
  return instanceKey(a.ident) === instanceKey(b.ident) && a.manifestDigest === b.manifestDigest;
}

/** As an instance that nobody asked for. */
export function standingInfo({ ident, version, manifestDigest }: Component, runtimeId: string): InstanceInfo {
  return {
    ...{ ident, version, manifestDigest, runtimeId, ownerId: '' },
    ...{ uid: 0, gid: 0, priority: 0, storagePath: '', statePath: '', envVars: [] },
  };
}

/**
 * A committed component is never replaced by a lower version (spec/product.md W7). Versions that cannot be compared, such
 * as those that a factory gave, hold nothing up. Throws `wrongState`.
 */
export function refuseDowngrade(committed: Component, wanted: Component): void {
  let order: number;
  try {
    order = compareVersions(wanted.version, committed.version);
  } catch {
    return;
  }
  if (order >= 0) return;
  const text = `version ${wanted.version} is lower than the committed ${committed.version}; publish a higher one`;
  throw new AosError('wrongState', text);
}

export interface ComponentImage {
  readonly path: string;
  readonly digest: string;
  readonly mediaType: string;
}

/** The one layer of a component that counts. Throws `invalidArgument` when it has none. */
export function imageOf({ item, info }: { readonly item: InstalledItem; readonly info: InstanceInfo }): ComponentImage {
  const [layer] = item.manifest.layers;
  const [path] = item.files;
  if (layer === undefined || path === undefined) {
    const name = `${instanceName(info.ident)} ${info.version}`;
    throw new AosError('invalidArgument', `${name} has no layer, expected one with the image`);
  }
  return { path, digest: layer.digest, mediaType: layer.mediaType };
}

/** For a status: the sentence in full, and what fits on the wire. */
export function failureOf(stored: StoredError | undefined) {
  const error = stored && restoreError(stored);
  return { ...(error && { error: toErrorInfo(error) }), because: error?.message ?? 'it failed' };
}

/**
 * First line of a version file: `VERSION="1.0.0"`, in `boot` slots also with spaces around the sign (spec/sm.md 6.1,
 * 6.7). Throws `invalidArgument` saying what is there.
 */
export function parseVersionFile(text: string, what: string): string {
  const line = text.split('\n', 1)[0]!.trim();
  const match = /^VERSION\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s"']+))$/.exec(line);
  const version = match?.[1] ?? match?.[2] ?? match?.[3];
  if (version !== undefined) return version;
  throw new AosError(
    'invalidArgument',
    `${what}: expected VERSION="…" in the first line, found "${line.slice(0, 40)}"`,
  );
}

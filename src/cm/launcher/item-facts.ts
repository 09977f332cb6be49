/** From the documents of an item to what placement must know of it (spec/cm.md 4.6, 4.7 step 1, 4.17). Pure. */
import { ERROR_CODES, type ErrorCode, type ErrorInfo, shortenMessage, toErrorInfo } from '../../core/index.ts';
import type { ImageConfig, ItemConfig } from '../../oci/index.ts';
import type { ItemFacts, ManifestFacts, UnusableManifest } from './model.ts';

/** One manifest of an item with its configurations, as far as they can be read. */
export interface ManifestDocuments {
  readonly digest: string;
  readonly imageConfig?: ImageConfig | undefined;
  /** Absent when the manifest names none. */
  readonly itemConfig?: ItemConfig | undefined;
  /** What cannot be read, when something cannot; its text is the one that instances report. */
  readonly error?: ErrorInfo | undefined;
}

/** An item in one version; in the order of its index. */
export interface ItemDocuments {
  readonly manifests: readonly ManifestDocuments[];
}

export function itemFacts(documents: ItemDocuments): ItemFacts {
  return { manifests: documents.manifests.map(manifestFacts) };
}

/** An item that cannot be read at all. */
export function unreadableItem(error: unknown): ItemFacts {
  return { error: toErrorInfo(error) };
}

function manifestFacts({
  digest,
  imageConfig,
  itemConfig,
  error,
}: ManifestDocuments): ManifestFacts | UnusableManifest {
  if (error !== undefined) return { digest, error };
  if (!itemConfig) return { digest, error: errorInfo('notFound', 'get item config failed') };
  if (!imageConfig) return { digest, error: errorInfo('notFound', 'get image config failed') };
  const { quotas, requestedResources } = itemConfig;
  return {
    digest,
    runtimes: itemConfig.runtimes,
    namesRuntimes: itemConfig.namesRuntimes,
    resources: itemConfig.resources.map(({ name }) => name),
    staysOnNode: itemConfig.balancingPolicy === 'disabled',
    skipResourceLimits: itemConfig.skipResourceLimits,
    quotas: {
      cpu: quotas.cpuDMIPSLimit,
      ram: quotas.ramLimit,
      storage: quotas.storageLimit,
      state: quotas.stateLimit,
    },
    requested: requestedResources,
    platform: {
      architecture: imageConfig.architecture,
      variant: imageConfig.variant,
      os: imageConfig.os,
      osVersion: imageConfig['os.version'],
      osFeatures: imageConfig['os.features'],
    },
    alertRules: itemConfig.alertRules,
  };
}

function errorInfo(code: ErrorCode, message: string): ErrorInfo {
  return { aosCode: ERROR_CODES[code], exitCode: 0, message: shortenMessage(message) };
}

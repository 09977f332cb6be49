/** Reading of item documents. Each function throws `invalidArgument` naming document, field, finding and expectation. */
import type { z } from 'zod';
import { AosError, isObject, parseJson, type ReadResult, readDocument } from '../core/index.ts';
import { ImageConfig } from './image-config.ts';
import { ImageIndex } from './image-index.ts';
import { ImageManifest } from './image-manifest.ts';
import { ItemConfig } from './item-config.ts';

/** Largest JSON document of an item (spec/decisions.md 8.3). */
export const MAX_DOCUMENT_BYTES = 1024 * 1024;

function parse<S extends z.ZodType>(schema: S, text: string, what: string): ReadResult<z.output<S>> {
  if (Buffer.byteLength(text) > MAX_DOCUMENT_BYTES) {
    throw new AosError('outOfRange', `${what} has more than ${MAX_DOCUMENT_BYTES} bytes`);
  }
  return readDocument(schema, parseJson(text, what), { what, lenientScalars: true });
}

export function parseImageIndex(text: string): ImageIndex {
  return parse(ImageIndex, text, 'image index').value;
}

export function parseImageManifest(text: string): ImageManifest {
  return parse(ImageManifest, text, 'image manifest').value;
}

export function parseImageConfig(text: string): ImageConfig {
  return parse(ImageConfig, text, 'image configuration').value;
}

export function parseItemConfig(text: string): ItemConfig {
  return readItemConfig(text).value;
}

/** As `parseItemConfig`, with what its author should know: keys that nobody reads. */
export function readItemConfig(text: string): ReadResult<ItemConfig> {
  const { value, warnings } = parse(ItemConfig, text, 'item configuration');
  return { value, warnings: [...cpuLimitWarning(text), ...warnings] };
}

function cpuLimitWarning(text: string): string[] {
  const document = JSON.parse(text) as Record<string, unknown>;
  const quotas = Object.entries(document).find(([key]) => key.toLowerCase() === 'quotas')?.[1];
  const written = isObject(quotas) && Object.keys(quotas).find((key) => key.toLowerCase() === 'cpulimit');
  return written
    ? [`quotas.${written} is ignored: its unit is unknown (percent or DMIPS); write cpuDMIPSLimit in DMIPS`]
    : [];
}

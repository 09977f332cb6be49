/** The place that the configuration names for blobs. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asAosError, type Logger } from '../../core/index.ts';
import type { CloudConfig } from '../config.ts';
import type { BlobFiles } from './blob-files.ts';
import { DirectoryFiles } from './directory-files.ts';
import { S3Files } from './s3/s3-files.ts';

/** Blobs without another store lie here, and all are made here. */
export const blobDirectory = (config: CloudConfig): string => join(config.workingDir, 'blobs');

export async function openBlobFiles(config: CloudConfig, logger: Logger): Promise<BlobFiles & { stop(): void }> {
  const { s3 } = config;
  if (!s3) return new DirectoryFiles(blobDirectory(config));
  const { caFile, ...options } = s3;
  const caPem = caFile === undefined ? undefined : await readCa(caFile);
  return new S3Files({ ...options, ...(caPem !== undefined && { caPem }), logger, now: () => new Date() });
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw asAosError(error, 'the certificate authority of the S3 store (s3.caFile) cannot be read');
  }
}

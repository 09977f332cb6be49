/** What is kept on disk: databases, files, blobs. */
export { applyDelta, type DeltaRequest } from './apply-delta.ts';
export * from './atomic-file.ts';
export * from './atomic-file-sync.ts';
export * from './blob-store.ts';
export { parseCertificates, verifyChain } from './certificate-chain.ts';
export { checkFile } from './check-file.ts';
export * from './database.ts';
export { DatabaseCopy } from './database-copy.ts';
export type { DecryptInfo } from './decrypt.ts';
export { DecryptingIntake, type DecryptingIntakeOptions, type PlainContent } from './decrypting-intake.ts';
export {
  DELTA_FORMAT,
  encodeSegmentHeader,
  PIECE_BYTES,
  SEGMENT_BYTES,
  type SegmentHeader,
  segmentOptions,
} from './delta-format.ts';
export { isDiskFull } from './disk-full.ts';
export * from './downloader.ts';
export { type Answer, describeUrl, HttpClient } from './http-get.ts';
export * from './install-blob.ts';
export { discardDownload, type Intake, PartialFile } from './partial-file.ts';
export * from './signature.ts';

/** What is kept on disk: databases, files, blobs. */
export * from './atomic-file.ts';
export * from './blob-store.ts';
export { parseCertificates, verifyChain } from './certificate-chain.ts';
export * from './database.ts';
export { DatabaseCopy } from './database-copy.ts';
export type { DecryptInfo } from './decrypt.ts';
export { DecryptingIntake, type DecryptingIntakeOptions, type PlainContent } from './decrypting-intake.ts';
export { isDiskFull } from './disk-full.ts';
export * from './downloader.ts';
export { type Answer, describeUrl, HttpClient } from './http-get.ts';
export * from './install-blob.ts';
export { discardDownload, type Intake, PartialFile } from './partial-file.ts';
export * from './signature.ts';

/** IAM, as the CM sees it. */
export { IamClient, type SystemInfo } from './iam-client.ts';
export { ProtectedIam } from './protected-iam.ts';
export * from './until-iam-answers.ts';

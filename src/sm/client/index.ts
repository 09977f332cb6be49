/** The SM as a client of CM and IAM. */
export * from './cloud-presence.ts';
export * from './cm-link.ts';
export * from './cm-services.ts';
export type { CmHandlers, LogRequest, NodeConfigAnswer, NodeDescription } from './cm-session.ts';
export * from './iam-client.ts';
export type { OutgoingMessage } from './messages.ts';

/** The system journal. */
export * from './journal.ts';

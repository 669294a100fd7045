/** The library: a session to trace with, the ledger to think with, the report to read. */
export { Ledger } from './ledger/ledger.ts';
export type * from './ledger/types.ts';
export { buildReport } from './report/report.ts';
export type * from './report/types.ts';
export { Session, type SessionOptions } from './session/session.ts';

/** Diagnostics, on stderr only: stdout belongs to the data. */
import { type Logger, pino } from 'pino';

export type Log = Logger;

/** Synchronous, since a worker would lose its last lines at exit. */
export function createLog(verbose: boolean): Log {
  return pino(
    { level: verbose ? 'debug' : 'warn', base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Diagnostics, on stderr only: stdout belongs to the data. */
import type { Logger } from 'pino';

export type Log = Logger;

/** Synchronous, since a worker would lose its last lines at exit. Only a trace has a log, so only a trace loads it. */
export async function createLog(verbose: boolean): Promise<Log> {
  const { pino } = await import('pino');
  return pino(
    { level: verbose ? 'debug' : 'warn', base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}

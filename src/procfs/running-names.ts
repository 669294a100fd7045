/** The processes that run now, by name. */
import { readdirSync } from 'node:fs';
import { PROC_ROOT } from './read.ts';
import { readStat } from './stat.ts';

/** Pid and comm of each process that /proc shows. */
export function runningNames(procRoot: string = PROC_ROOT): [pid: number, comm: string][] {
  return readdirSync(procRoot)
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid): [number, string][] => {
      const stat = readStat(`${procRoot}/${pid}`);
      return stat.status === 'measured' ? [[Number(pid), stat.value.comm]] : [];
    });
}

/** /proc/PID/stat: the fields that tell one process from another. */
import type { Known } from '../ledger/types.ts';
import { readText } from './read.ts';

export interface ProcessStat {
  comm: string;
  /** `R`, `S`, `Z`, ... */
  state: string;
  parentPid: number;
  /** PF_* of the kernel */
  flags: number;
  threads: number;
  /** since boot, in ticks of 10 ms, decimal */
  startTicks: string;
}

/** Positions after the command name; proc(5) numbers them from 1 and the name is the second. */
const STATE = 3 - 3;
const PARENT = 4 - 3;
const FLAGS = 9 - 3;
const THREADS = 20 - 3;
const START = 22 - 3;

/** @returns unavailable when the process is gone or the text is not what the kernel writes */
export function readStat(processRoot: string): Known<ProcessStat> {
  const text = readText(`${processRoot}/stat`, 4096);
  return text.status === 'measured' ? parseStat(text.value) : text;
}

/** The command name may hold spaces and parentheses, so it reaches to the last one. */
export function parseStat(text: string): Known<ProcessStat> {
  const opening = text.indexOf('(');
  const closing = text.lastIndexOf(')');
  const fields = text
    .slice(closing + 1)
    .trim()
    .split(' ');
  const [state = '', parent = '', flags = '', threads = '', start = ''] = [
    fields[STATE],
    fields[PARENT],
    fields[FLAGS],
    fields[THREADS],
    fields[START],
  ];
  const isWhole = opening >= 0 && closing > opening && /^[A-Za-z]$/.test(state);
  if (!isWhole || ![parent, flags, threads, start].every((word) => /^\d{1,20}$/.test(word))) {
    return { status: 'unavailable', reason: 'the stat of the process cannot be read' };
  }
  return {
    status: 'measured',
    value: {
      comm: text.slice(opening + 1, closing),
      state,
      parentPid: Number(parent),
      flags: Number(flags),
      threads: Number(threads),
      startTicks: start,
    },
  };
}

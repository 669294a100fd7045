/** What to type next. Only commands that exist. */
import { NO_PID } from '../../ledger/outside.ts';
import { concernTest, largestWaster, shortagesOf } from '../../report/port-shortage.ts';
import type { Finding, Report } from '../../report/types.ts';
import { namespaceName, ProcessNames } from '../names.ts';
import type { Style } from '../style.ts';
import { longerWatch } from './longer-watch.ts';
import { type Recorded, type Step, stepsForRecording } from './next-of-recording.ts';

/** @param recorded null: what it tells of exists now, on this host */
export function nextLines(report: Report, style: Style, recorded: Recorded | null = null): string[] {
  const next = recorded === null ? nextSteps(report) : stepsForRecording(report, recorded);
  const steps = next.map(({ command, why }) => ({ command: asTyped(command, style), why }));
  if (steps.length === 0) return [];
  const width = Math.max(...steps.map(({ command }) => command.length));
  return [
    style.bold('NEXT'),
    ...steps.map(({ command, why }) => `  ${command.padEnd(width)}  ${style.dim(`# ${why}`)}`),
  ];
}

function asTyped(command: string, style: Style): string {
  return command.replace(/^socktrace(?= )/, () => style.command);
}

function nextSteps(report: Report): Step[] {
  return unique([...inspect(report), ...traceSuspects(report), ...traceHogs(report), ...watchLonger(report)]);
}

/** For the first finding whose sockets somebody still holds. */
function inspect(report: Report): Step[] {
  const names = new ProcessNames(report);
  for (const finding of report.findings) {
    if (finding.kind === 'released' || finding.heldAtExit === finding.count) continue;
    const example = finding.examples.find(({ process, fd }) => process !== null && fd !== null);
    const owner = finding.process.status === 'measured' ? finding.process.value : null;
    const holder = names.find(example?.process ?? owner ?? '');
    if (holder === undefined || holder.exited || holder.pid === NO_PID) continue;
    const one = { command: `ls -l /proc/${holder.pid}/fd/${example?.fd}`, why: 'one of these sockets' };
    return [...(example === undefined ? [] : [one]), ...listing(finding, holder.pid)];
  }
  return [];
}

function listing({ kind }: Finding, pid: number): Step[] {
  // ss lists only sockets in the kernel's hash tables, and of the wasteful kinds only close-wait is in one.
  if (kind === 'close-wait')
    return [{ command: `nsenter -t ${pid} -n ss -tnp state close-wait`, why: 'all of them with their peers' }];
  return [{ command: `lsof -nP -p ${pid}`, why: 'all open files of the process; ss does not list closed sockets' }];
}

/** After a look at the whole host: the process to look at more closely. */
function traceSuspects({ findings, host, target, processes }: Report): Step[] {
  if (host.hooks.set !== 'none' || target.pids.length > 0) return [];
  const holder = findings.find(({ kind }) => kind !== 'released')?.holders[0]?.process;
  const pid = processes.find(({ id }) => id === holder)?.pid;
  if (pid === undefined || pid === NO_PID) return [];
  return [
    { command: `socktrace snapshot --pid ${pid}`, why: 'its sockets, one by one' },
    { command: `socktrace --pid ${pid} --duration 5m`, why: 'whether it goes on, how fast, and who suffers' },
  ];
}

/** Where ports are out: whoever has them without use, and was not looked at. */
function traceHogs(report: Report): Step[] {
  const { ports, processes, target } = report;
  const concern = concernTest(report);
  const short = shortagesOf(ports).sort((a, b) => concern(a) - concern(b));
  return short.flatMap((one) => {
    const holder = processes.find(({ id }) => id === largestWaster(one));
    const isTraced = holder?.activity.status === 'measured' || target.processes.includes(holder?.id ?? '');
    if (holder === undefined || holder.exited || holder.pid === NO_PID || isTraced) return [];
    return [{ command: `socktrace --pid ${holder.pid}`, why: `it has most idle ports of ${namespaceName(one)}` }];
  });
}

/** When time is what is missing. */
function watchLonger(report: Report): Step[] {
  const { processes, target } = report;
  const pids = processes.filter(({ id, exited }) => !exited && target.processes.includes(id)).map(({ pid }) => pid);
  const longer = longerWatch(report);
  if (longer === null || pids.length === 0) return [];
  const selection = pids.map((pid) => `--pid ${pid}`).join(' ');
  return [{ command: `socktrace ${selection} --duration ${longer.minutes}m`, why: longer.why }];
}

function unique(steps: readonly Step[]): Step[] {
  return steps.filter(({ command }, i) => steps.findIndex((step) => step.command === command) === i);
}

/** The stacks of a report with what hangs on them, for the formats that flame graphs are drawn from. */
import type { CallFrame, PathId, PathRef } from '../ledger/types.ts';
import { moduleName } from '../report/fold.ts';
import { readName } from '../report/frame-names.ts';
import type { Failure, Finding, Report } from '../report/types.ts';
import { escapeText } from './escape.ts';

/** What a stack may be weighed by. */
export const STACK_VALUES = ['sockets', 'ports', 'failures'] as const;
export type StackValue = (typeof STACK_VALUES)[number];

export interface StackLabels {
  comm: string;
  pid: number;
  /** of a finding its kind, of failed calls their operation */
  kind: string;
  errno: string | null;
  leak: boolean;
  /** the recording, in a report of several */
  source: string | null;
}

export interface Stack {
  /** innermost first; empty where the path is not known: `unknown` says why */
  frames: readonly CallFrame[];
  unknown: string | null;
  values: Record<StackValue, number>;
  labels: StackLabels;
}

const WITHOUT_PATH: Readonly<Record<Exclude<PathRef['status'], 'resolved' | 'unavailable'>, string>> = {
  pending: 'call path not read yet',
  'not-sampled': 'call path not sampled',
  preexisting: 'opened before the trace',
};

/**
 * Suspects under the path that opened them, their ports under the path that bound those, failed calls under the path
 * that called. What no descriptor holds (`released`) is no suspect of the program, and is left out.
 */
export function stacksOf(report: Report): Stack[] {
  const paths = new Map(
    report.callPaths.status === 'measured' ? report.callPaths.value.map(({ id, frames }) => [id, frames]) : [],
  );
  const processes = new Map(report.processes.map((process) => [process.id, process]));
  const whoOf = (finding: Finding): Pick<StackLabels, 'comm' | 'pid'> => {
    const process = finding.process.status === 'measured' ? processes.get(finding.process.value) : undefined;
    return { comm: process?.comm ?? 'unknown process', pid: process?.pid ?? 0 };
  };
  const failures = report.failures.status === 'measured' ? report.failures.value : [];
  return [
    ...report.findings
      .filter(({ kind }) => kind !== 'released')
      .flatMap((finding) => ofFinding(finding, whoOf(finding), paths)),
    ...failures.map((failure) => ofFailure(failure, paths)),
  ];
}

type Paths = ReadonlyMap<PathId, readonly CallFrame[]>;

function ofFinding(finding: Finding, who: Pick<StackLabels, 'comm' | 'pid'>, paths: Paths): Stack[] {
  const { kind, errno, leak, source, count, ports, openPath, bindPath } = finding;
  const labels = { ...who, kind, errno, leak, source: source ?? null };
  const binds = bindPath?.status === 'resolved' ? bindPath : openPath;
  const at = (path: PathRef, values: Partial<Stack['values']>): Stack => ({
    ...framesOf(path, paths),
    values: { sockets: 0, ports: 0, failures: 0, ...values },
    labels,
  });
  if (ports === 0) return [at(openPath, { sockets: count })];
  if (binds === openPath) return [at(openPath, { sockets: count, ports })];
  return [at(openPath, { sockets: count }), at(binds, { ports })];
}

function ofFailure({ comm, pid, operation, errno, count, path, source }: Failure, paths: Paths): Stack {
  return {
    ...(path === null ? { frames: [], unknown: 'call path not captured' } : framesOf(path, paths)),
    values: { sockets: 0, ports: 0, failures: count },
    labels: { comm, pid, kind: operation, errno, leak: false, source: source ?? null },
  };
}

function framesOf(path: PathRef, paths: Paths): Pick<Stack, 'frames' | 'unknown'> {
  if (path.status === 'unavailable') return { frames: [], unknown: path.reason };
  if (path.status !== 'resolved') return { frames: [], unknown: WITHOUT_PATH[path.status] };
  const frames = paths.get(path.id) ?? [];
  return { frames, unknown: frames.length > 0 ? null : 'call path not named' };
}

/** A function's name, else where in which file it is. Escaped. */
export function frameName(frame: CallFrame): string {
  const { name } = readName(frame);
  if (name !== null && name !== '') return escapeText(name);
  return escapeText(`${frame.module === null ? 'unknown' : moduleName(frame.module)}+${frame.offset}`);
}

/** The stack as names, outermost first, with the program at its root. */
export function namesOf({ frames, unknown, labels }: Stack): string[] {
  const inner = unknown === null ? frames.map(frameName).reverse() : [`[${escapeText(unknown)}]`];
  // A program may have taken its name away, and what draws flames drops frames without one.
  return [escapeText(labels.comm) || '(no name)', ...inner];
}

// Runs a real session inside the test, with short ages, and waits for what it reports.
import { expect } from 'vitest';
import { HOOK_SETS, type WantedProcess } from '../../src/kernel/binding.ts';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { checkTarget } from '../../src/procfs/target.ts';
import type { Finding, Report } from '../../src/report/types.ts';
import { Session, type SessionOptions } from '../../src/session/session.ts';
import { PATIENCE } from './puppet.ts';

export const MIN_AGE_MS = 200;
/** A poll and a report take an emulated CPU about 10 ms. */
const POLL_MS = 10 * PATIENCE;
const PATIENCE_MS = 20_000 * PATIENCE;
/** Half of what it takes to open a session is for them where the CPU is emulated: there only tests that want them have them. */
const CALL_PATHS = PATIENCE === 1;

/** What a test says of one finding; the process is the owner's pid. */
export interface ExpectedFinding {
  kind: Finding['kind'];
  count: number;
  ports?: number;
  errno?: string | null;
  pid?: number;
  heldAtExit?: number;
}

/** SOCKTRACE_HOOKS names the hook set to test, where the kernel takes several. */
function hooksWanted(): SessionOptions['hooks'] {
  const wanted = process.env['SOCKTRACE_HOOKS'] ?? 'auto';
  const set = (['auto', ...HOOK_SETS] as const).find((name) => name === wanted);
  if (set === undefined) throw new Error(`SOCKTRACE_HOOKS names no hook set: ${wanted}`);
  return set;
}

/** Of a trace of these processes, with short ages. */
export function sessionOptions(pids: readonly number[], changed: Partial<SessionOptions> = {}): SessionOptions {
  return {
    targets: changed.targets ?? pids.map(targetOf),
    follow: true,
    thresholds: { minAgeMs: MIN_AGE_MS, leakAgeMs: 400, idleLeakAgeMs: 600, leakCount: 3 },
    hooks: hooksWanted(),
    victims: true,
    callPaths: CALL_PATHS,
    hideArguments: false,
    maxSockets: 65_536,
    maxProcesses: 4_096,
    sweepMs: 20,
    confirmMs: 50,
    eventRingBytes: null,
    ...changed,
  };
}

/**
 * A session reads its tables at a small share of a core. What an emulated CPU needs for it, ten times what a real one does,
 * would let it stand still for 10 s after a reading: it is told what a real one would take.
 */
function countCpuTimeAsReal(): void {
  const emulated = process.cpuUsage.bind(process);
  const real = (previous: NodeJS.CpuUsage = { user: 0, system: 0 }): NodeJS.CpuUsage => {
    const { user, system } = emulated();
    return { user: user / 10 - previous.user, system: system / 10 - previous.system };
  };
  process.cpuUsage = real;
}

if (PATIENCE > 1) countCpuTimeAsReal();

export class Tracing {
  readonly session: Session;
  /** every input since the start, as a recording would hold it */
  readonly inputs: LedgerInput[] = [];

  private constructor(options: SessionOptions) {
    this.session = Session.open(options, { input: (input) => this.inputs.push(input) });
  }

  static of(pids: readonly number[], changed: Partial<SessionOptions> = {}): Tracing {
    return new Tracing(sessionOptions(pids, changed));
  }

  /** Polls until `holds` does; fails with `what` and the last report after 20 s. */
  async until(what: string, holds: (report: Report) => boolean): Promise<Report> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      this.session.poll();
      const report = this.session.report();
      if (holds(report)) return report;
      if (performance.now() > end) throw new Error(`not seen within ${PATIENCE_MS} ms: ${what}\n${describe(report)}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Waits until the findings are exactly these, in any order, and fails with the difference. */
  findings(expected: readonly ExpectedFinding[]): Promise<Report> {
    return this.#findings(expected, () => true);
  }

  /** The same for the findings of one owner. */
  findingsOf(pid: number, expected: readonly ExpectedFinding[]): Promise<Report> {
    return this.#findings(expected, (report, { process }) => {
      return process.status === 'measured' && report.processes.find(({ id }) => id === process.value)?.pid === pid;
    });
  }

  async #findings(
    expected: readonly ExpectedFinding[],
    concerns: (report: Report, finding: Finding) => boolean,
  ): Promise<Report> {
    const wanted = [...expected].sort(byText);
    let found: ExpectedFinding[] = [];
    try {
      return await this.until('findings', (now) => {
        found = shape({ ...now, findings: now.findings.filter((finding) => concerns(now, finding)) }, wanted);
        return JSON.stringify(found) === JSON.stringify(wanted.map(ordered));
      });
    } catch (error) {
      expect(found).toEqual(wanted.map(ordered));
      throw error;
    }
  }

  /** Lets every socket that is idle now become a suspect: polls until min-age has passed twice and a pass was made. */
  async ripen(): Promise<Report> {
    const end = performance.now() + 3 * MIN_AGE_MS;
    const passes = this.#passes();
    return this.until('a confirm pass after min-age', () => performance.now() > end && this.#passes() > passes + 1);
  }

  /** Ends the session with its final reading. */
  finish(): Report {
    const report = this.session.finish();
    this.session.close();
    return report;
  }

  [Symbol.dispose](): void {
    this.session.close();
  }

  #passes(): number {
    return this.inputs.reduce((passes, input) => passes + (input.type === 'holders' ? 1 : 0), 0);
  }
}

/**
 * `alloc` must have moved by what the hooks counted. It is the whole host's: while others open sockets, some may be half
 * way at a reading or be made by the kernel, and nothing can be compared.
 */
export function expectSumsToClose(report: Report): void {
  if (report.sockstat.status === 'unavailable') throw new Error(report.sockstat.reason);
  if (report.sockstat.value.moved.status === 'unavailable') throw new Error(report.sockstat.value.moved.reason);
  const moved = report.sockstat.value.moved.value;
  const others = moved.opened - (report.sockets.opened ?? 0);
  if (others > 0) console.warn(`NOT CHECKED: whether the sums close (others opened ${others} sockets meanwhile)`);
  else expect(moved).toMatchObject({ unexplained: 0 });
}

/**
 * What is lost to a report. Ends that a walk found are in its counts; kernels that protect tasks hide a few. A stack that
 * found no room is a socket whose path was not sampled.
 */
export function unmendedLoss(report: Report): Report['loss']['reasons'] {
  return report.loss.reasons.filter(({ code }) => code !== 'destroy-unseen' && code !== 'stack-ring-full');
}

/** The process that has this pid now. */
export function targetOf(pid: number): WantedProcess {
  const target = checkTarget(pid);
  if (target.is !== 'process') throw new Error(`${pid} cannot be traced: ${target.is}`);
  return target;
}

/** The findings of a report, with only what the test speaks of: those that differ in nothing else are added up. */
function shape(report: Report, wanted: readonly ExpectedFinding[]): ExpectedFinding[] {
  const speaksOf = new Set(wanted.flatMap((finding) => Object.keys(finding)));
  const shaped = report.findings.map((finding) => {
    const pid = report.processes.find(
      ({ id }) => finding.process.status === 'measured' && id === finding.process.value,
    )?.pid;
    const full = { ...finding, pid } as unknown as Record<string, unknown>;
    return ordered(
      Object.fromEntries(Object.entries(full).filter(([name]) => speaksOf.has(name))) as unknown as ExpectedFinding,
    );
  });
  return addUp(shaped).sort(byText);
}

/** A kind of leak may have several call paths, which most tests do not ask about. */
function addUp(findings: readonly ExpectedFinding[]): ExpectedFinding[] {
  const sums = new Map<string, ExpectedFinding>();
  for (const finding of findings) {
    const { count, ports, heldAtExit, ...rest } = finding;
    const sum = sums.get(JSON.stringify(rest));
    if (sum === undefined) {
      sums.set(JSON.stringify(rest), { ...finding });
      continue;
    }
    sum.count += count;
    if (ports !== undefined) sum.ports = (sum.ports ?? 0) + ports;
    if (heldAtExit !== undefined) sum.heldAtExit = (sum.heldAtExit ?? 0) + heldAtExit;
  }
  return [...sums.values()];
}

function ordered(finding: ExpectedFinding): ExpectedFinding {
  return Object.fromEntries(Object.entries(finding).sort(([a], [b]) => (a < b ? -1 : 1))) as unknown as ExpectedFinding;
}

function byText(a: ExpectedFinding, b: ExpectedFinding): number {
  return JSON.stringify(ordered(a)) < JSON.stringify(ordered(b)) ? -1 : 1;
}

function describe(report: Report): string {
  return JSON.stringify(
    { findings: report.findings, sockets: report.sockets, loss: report.loss, verdict: report.verdict },
    null,
    1,
  );
}

/** `socktrace --pid N`: traces until Ctrl-C, the duration's end or the last target's exit, then reports. */
import { type Command, Option } from 'commander';
import { type HookSetName, KernelError, type WantedProcess } from '../kernel/binding.ts';
import type { SocketEvent } from '../kernel/decode.ts';
import { DEFAULT_THRESHOLDS } from '../ledger/thresholds.ts';
import type { LedgerInput } from '../ledger/types.ts';
import { renderEvent } from '../render/event.ts';
import { renderJson, renderJsonLine } from '../render/json.ts';
import { renderText } from '../render/text.ts';
import type { Report } from '../report/types.ts';
import {
  DEFAULT_CONFIRM_MS,
  DEFAULT_MAX_PROCESSES,
  DEFAULT_MAX_SOCKETS,
  DEFAULT_SWEEP_MS,
  Session,
  TargetGoneError,
} from '../session/session.ts';
import { type Display, openDisplay } from './display.ts';
import { ExitCode, UsageError } from './exit-codes.ts';
import { createLog, type Log } from './log.ts';
import { countArgument, durationArgument, durationOption, hooksOption, pidArgument } from './options.ts';
import { explainRefusal } from './refusal.ts';
import { triage } from './snapshot.ts';
import { StopRequest } from './stop.ts';
import { styleFor } from './style.ts';
import { checkedTargets } from './targets.ts';

export interface TraceOptions {
  pid?: number[];
  follow: boolean;
  duration?: number;
  minAge: number;
  leakAge: number;
  leakCount: number;
  hooks: 'auto' | HookSetName;
  events?: 'all';
  json?: boolean;
  ndjson?: boolean;
  failOnLeak?: boolean;
  paths: boolean;
  victims: boolean;
  cmdline: boolean;
  maxSockets: number;
  eventRing: number;
  verbose?: boolean;
}

const POLL_MS = 50;
/** Output that its reader has not taken yet waits in memory. */
const MOST_UNREAD_BYTES = 16 << 20;
/** Sockets that others inherited stay held for ever; freeing a large process's memory takes a second or so. */
const EXIT_PATIENCE_MS = 3_000;
const EVENT_RING_BYTES = 1 << 20;
/** close-wait and disconnected sockets may be a slow download's: they get twice the time, as by default */
const IDLE_FACTOR = DEFAULT_THRESHOLDS.idleLeakAgeMs / DEFAULT_THRESHOLDS.leakAgeMs;

const NO_PROCESS =
  'no process given: socktrace --pid PID ("socktrace" alone shows what exists now, "socktrace demo unused" makes a process to try it on)';
/** Options that make sense while something is traced only. */
const LENGTHY = ['duration', 'events', 'ndjson', 'failOnLeak'] as const;

/** Adds the options of a trace to a command. */
export function addTraceOptions(command: Command): Command {
  return command
    .option('-p, --pid <pid>', 'trace this process (repeatable)', pidArgument)
    .option('--no-follow', 'do not trace its children')
    .option('-d, --duration <time>', 'stop after this time, e.g. 30s, 5m', durationArgument)
    .addOption(
      durationOption('--min-age <time>', 'a socket unused for this long is a suspect', DEFAULT_THRESHOLDS.minAgeMs),
    )
    .addOption(
      durationOption(
        '--leak-age <time>',
        'suspects this old may be a leak; close-wait and disconnected: twice that without a byte moving',
        DEFAULT_THRESHOLDS.leakAgeMs,
      ),
    )
    .option(
      '--leak-count <n>',
      'so many old suspects are a leak even when they do not grow',
      countArgument(1_000_000_000),
      DEFAULT_THRESHOLDS.leakCount,
    )
    .addOption(hooksOption())
    .addOption(new Option('--events <which>', 'print every change of every traced socket to stderr').choices(['all']))
    .option('--json', 'print the report as one JSON document')
    .option('--ndjson', 'print what the ledger is told, line by line as it comes, then the report')
    .option('--fail-on-leak', 'exit with 10 when there is a leak, 11 when it cannot be known')
    .option('--no-paths', 'do not capture which code opened, bound or connected')
    .option('--no-victims', 'count failed calls of the traced processes only, not of every process')
    .option('--no-cmdline', 'leave command lines out of the report')
    .addOption(
      new Option('--max-sockets <n>', 'most sockets followed at a time')
        .argParser(countArgument(16_777_216))
        .default(DEFAULT_MAX_SOCKETS),
    )
    .addOption(
      new Option('--event-ring <bytes>', 'size of the ring for --events')
        .argParser(countArgument(1 << 30))
        .default(EVENT_RING_BYTES),
    )
    .option('-v, --verbose', 'say on stderr what is being done');
}

/** Runs one trace and returns the exit status. Errors of use and of the kernel are thrown as such. */
export async function trace(options: TraceOptions): Promise<ExitCode> {
  if (options.pid === undefined) {
    if (LENGTHY.some((name) => options[name] !== undefined)) throw new UsageError(NO_PROCESS);
    return triage(options.json ?? false);
  }
  const log = await createLog(options.verbose ?? false);
  // Before the slow part: an early Ctrl-C must not kill without detaching.
  const stop = new StopRequest(options.events === undefined ? [process.stdout] : [process.stdout, process.stderr]);
  try {
    const session = openSession(options, checkedTargets(options.pid), log);
    try {
      return await follow(session, options, stop, log);
    } finally {
      session.close();
    }
  } finally {
    stop.dispose();
  }
}

function openSession(options: TraceOptions, targets: WantedProcess[], log: Log): Session {
  const sinks = {
    ...(options.ndjson ? { input: printLine } : {}),
    ...(options.events === 'all' ? { event: printEvent } : {}),
  };
  try {
    const session = Session.open(
      {
        targets,
        follow: options.follow,
        thresholds: {
          minAgeMs: options.minAge,
          leakAgeMs: options.leakAge,
          idleLeakAgeMs: IDLE_FACTOR * options.leakAge,
          leakCount: options.leakCount,
        },
        hooks: options.hooks,
        callPaths: options.paths,
        victims: options.victims,
        hideArguments: !options.cmdline,
        maxSockets: options.maxSockets,
        maxProcesses: DEFAULT_MAX_PROCESSES,
        sweepMs: Math.min(DEFAULT_SWEEP_MS, Math.max(20, options.minAge / 2)),
        confirmMs: DEFAULT_CONFIRM_MS,
        eventRingBytes: options.events === 'all' ? ringBytes(options.eventRing) : null,
      },
      sinks,
    );
    for (const { set, reason } of session.hooks.refused) log.debug({ set, reason }, 'hook set refused');
    log.debug({ set: session.hooks.set }, 'hooks attached');
    return session;
  } catch (error) {
    if (error instanceof KernelError) throw explainRefusal(error);
    if (error instanceof TargetGoneError)
      throw new UsageError(`${error.message}: ${targets.map(({ pid }) => pid).join(', ')}`);
    throw error;
  }
}

/** The ring wants a power of two of pages. */
function ringBytes(asked: number): number {
  return Math.max(4096, 2 ** Math.ceil(Math.log2(asked)));
}

async function follow(session: Session, options: TraceOptions, stop: StopRequest, log: Log): Promise<ExitCode> {
  if (!process.stderr.isTTY || options.events !== undefined)
    process.stderr.write(
      `tracing ${(options.pid ?? []).join(', ')} with the ${session.hooks.set} hooks; Ctrl-C reports\n`,
    );
  session.takeCensus();
  const display = await openDisplay(session, stop, {
    events: options.events !== undefined,
    json: options.json === true || options.ndjson === true,
  });
  try {
    await watch(session, options, stop, display);
  } finally {
    display?.close();
  }
  log.debug(
    { reason: stop.requested ? 'asked to' : session.targetsGone ? 'every target exited' : 'time is up' },
    'stopping',
  );
  const report = session.finish({ census: true });
  session.close();
  print(report, options);
  return exitCodeOf(report, options.failOnLeak ?? false);
}

async function watch(
  session: Session,
  options: TraceOptions,
  stop: StopRequest,
  display: Display | null,
): Promise<void> {
  const end = options.duration === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.duration;
  while (!stop.requested && performance.now() < end && !session.targetsGone) {
    // Nothing is lost by waiting for a slow reader: the tables of the kernel side keep what is not read.
    if (!options.ndjson || process.stdout.writableLength < MOST_UNREAD_BYTES) session.poll();
    display?.show(() => session.report());
    await stop.wait(Math.min(POLL_MS, Math.max(0, end - performance.now())));
  }
  // The exit is told before descriptors are closed: what was held is known only afterwards.
  const closed = performance.now() + EXIT_PATIENCE_MS;
  while (!stop.requested && session.targetsGone && session.held > 0 && performance.now() < closed) {
    session.poll();
    await stop.wait(POLL_MS);
  }
}

function print(report: Report, options: TraceOptions): void {
  if (options.ndjson) process.stdout.write(renderJsonLine({ type: 'report', report }));
  else process.stdout.write(options.json ? renderJson(report) : renderText(report, styleFor(process.stdout)));
}

function exitCodeOf(report: Report, failOnLeak: boolean): ExitCode {
  if (!failOnLeak) return ExitCode.done;
  switch (report.verdict.is) {
    case 'leak':
      return ExitCode.leak;
    case 'not-known':
      return ExitCode.notKnown;
    case 'no-leak':
      return ExitCode.done;
  }
}

function printLine(input: LedgerInput): void {
  process.stdout.write(renderJsonLine(input));
}

/** False when nobody reads them fast enough to take one more. */
function printEvent(event: SocketEvent): boolean {
  if (process.stderr.writableLength > MOST_UNREAD_BYTES) return false;
  process.stderr.write(`${renderEvent(event)}\n`);
  return true;
}

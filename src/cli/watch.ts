/** What the commands that trace have in common: which processes, with what, and for how long. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { type HookSetName, KernelError } from '../kernel/binding.ts';
import { DEFAULT_THRESHOLDS } from '../ledger/thresholds.ts';
import { memoryInWords } from '../recording/memory.ts';
import { escapeText } from '../render/escape.ts';
import { targetName } from '../render/names.ts';
import { type FetchRefusal, fetchRefusal } from '../session/debuginfod.ts';
import {
  DEFAULT_CONFIRM_MS,
  DEFAULT_MAX_PROCESSES,
  DEFAULT_MAX_SOCKETS,
  DEFAULT_SWEEP_MS,
  Session,
  type SessionOptions,
  type SessionSinks,
  TargetGoneError,
} from '../session/session.ts';
import { type DisplayOptions, isLive, openDisplay } from './display.ts';
import { UsageError } from './exit-codes.ts';
import { GROUPS } from './help.ts';
import type { Log } from './log.ts';
import { Looks } from './looks.ts';
import { countArgument, durationArgument, durationOption, hooksOption, pidArgument } from './options.ts';
import { explainRefusal } from './refusal.ts';
import { Room } from './room.ts';
import { addSelectionOptions, nobodyMatches, type SelectionOptions, selectionOf } from './selection.ts';
import type { StopRequest } from './stop.ts';
import { checkedTargets } from './targets.ts';

export interface WatchOptions extends SessionOptionsAsked, SelectionOptions {
  pid?: number[];
  duration?: number;
}

/** What any traced selection is observed with. */
export interface SessionOptionsAsked {
  follow: boolean;
  minAge: number;
  leakAge: number;
  leakCount: number;
  hooks: 'auto' | HookSetName;
  paths: boolean;
  debuginfod?: boolean;
  victims: boolean;
  cmdline: boolean;
  maxSockets: number;
  verbose?: boolean;
}

const POLL_MS = 50;
/** While nothing is on its way. */
const QUIET_POLL_MS = 100;
/** Sockets that others inherited stay held for ever; freeing a large process's memory takes a second or so. */
const EXIT_PATIENCE_MS = 3_000;
/** close-wait and disconnected sockets may be a slow download's: they get twice the time, as by default */
const IDLE_FACTOR = DEFAULT_THRESHOLDS.idleLeakAgeMs / DEFAULT_THRESHOLDS.leakAgeMs;

/** Adds the options that select what is traced, and how. */
export function addWatchOptions(command: Command): Command {
  const selected = addSelectionOptions(
    command
      .optionsGroup(GROUPS.which)
      .option('-p, --pid <pid>', 'this process, with what it holds already; repeatable', pidArgument),
  );
  return addSessionOptions(
    selected
      .option('--no-follow', 'not their children (default: those that exist and those to come)')
      .optionsGroup(GROUPS.howLong)
      .option(
        '-d, --duration <time>',
        'stop after 500ms, 30s, 5m or 2h (default: at Ctrl-C, or when the last process exits)',
        durationArgument,
      ),
  );
}

/** Adds the options of how things are observed and judged. */
export function addSessionOptions(command: Command): Command {
  return command
    .optionsGroup(GROUPS.verdict)
    .addOption(
      durationOption('--min-age <time>', 'a socket of no use for this long is a suspect', DEFAULT_THRESHOLDS.minAgeMs),
    )
    .addOption(
      durationOption(
        '--leak-age <time>',
        'suspects this old may be a leak; close-wait and disconnected ones at twice that, without a byte moving',
        DEFAULT_THRESHOLDS.leakAgeMs,
      ),
    )
    .option(
      '--leak-count <n>',
      'so many old suspects are a leak even when they do not grow',
      countArgument(1_000_000_000),
      DEFAULT_THRESHOLDS.leakCount,
    )
    .optionsGroup(GROUPS.keep)
    .option('--no-paths', 'not which code opened, bound or connected')
    .option('--no-victims', 'failed calls of the traced processes only, not of every process')
    .option('--no-cmdline', 'no command lines')
    .option(
      '--debuginfod',
      'fetch debugging information from the servers in DEBUGINFOD_URLS, for files and lines (default: never asked)',
    )
    .optionsGroup(GROUPS.expert)
    .addOption(hooksOption())
    .addOption(
      new Option('--max-sockets <n>', 'most sockets followed at a time')
        .argParser(countArgument(16_777_216))
        .default(DEFAULT_MAX_SOCKETS),
    )
    .option('-v, --verbose', 'say on stderr what is being done');
}

const CANNOT_FETCH: Readonly<Record<FetchRefusal, string>> = {
  'no-servers':
    '--debuginfod: no servers are given: set DEBUGINFOD_URLS, such as DEBUGINFOD_URLS=https://debuginfod.example.org (through sudo: --preserve-env=DEBUGINFOD_URLS)',
  'no-tool':
    '--debuginfod: debuginfod-find is not installed (Debian: package debuginfod; Fedora: elfutils-debuginfod-client)',
};

/** Before anything else: who asks for lines wants to know at once that there will be none. */
function checkFetching({ debuginfod, paths }: WatchOptions): void {
  if (!debuginfod) return;
  if (!paths) throw new UsageError('--debuginfod is for call paths, which --no-paths switches off');
  const refusal = fetchRefusal();
  if (refusal !== null) throw new UsageError(CANNOT_FETCH[refusal]);
}

/**
 * What is to be traced; null when nothing was asked for.
 * @throws UsageError when one of it does not exist, CannotTraceError where /proc is that of another pid namespace
 */
export function targetsOf(options: WatchOptions): Targets | null {
  const selection = selectionOf(options);
  if (options.pid === undefined && selection === undefined) return null;
  return { targets: checkedTargets(options.pid ?? []), ...(selection === undefined ? {} : { selection }) };
}

export type Targets = Pick<SessionOptions, 'targets' | 'selection' | 'command' | 'allow'>;

/**
 * Attaches. Errors of the kernel and of processes that have gone are explained.
 * @param eventRingBytes null: no event stream
 */
export function openSession(
  options: SessionOptionsAsked,
  traced: Targets,
  eventRingBytes: number | null,
  sinks: SessionSinks,
  log: Log,
): Session {
  checkFetching(options);
  try {
    const session = Session.open(
      {
        ...traced,
        follow: options.follow,
        thresholds: {
          minAgeMs: options.minAge,
          leakAgeMs: options.leakAge,
          idleLeakAgeMs: IDLE_FACTOR * options.leakAge,
          leakCount: options.leakCount,
        },
        hooks: options.hooks,
        callPaths: options.paths,
        debuginfod: options.debuginfod ?? false,
        victims: options.victims,
        hideArguments: !options.cmdline,
        maxSockets: options.maxSockets,
        maxProcesses: DEFAULT_MAX_PROCESSES,
        sweepMs: Math.min(DEFAULT_SWEEP_MS, Math.max(20, options.minAge / 2)),
        confirmMs: DEFAULT_CONFIRM_MS,
        eventRingBytes,
      },
      sinks,
    );
    for (const { set, reason } of session.hooks.refused) log.debug({ set, reason }, 'hook set refused');
    log.debug({ set: session.hooks.set }, 'hooks attached');
    return session;
  } catch (error) {
    if (error instanceof KernelError) throw explainRefusal(error);
    if (error instanceof TargetGoneError)
      throw new UsageError(`${error.message}: ${traced.targets.map(({ pid }) => pid).join(', ')}`);
    throw error;
  }
}

/** What a command does while a session goes on. */
export interface Watching {
  stop: StopRequest;
  log: Log;
  /** said once, where stderr is no terminal or has events on it */
  doing: string;
  /** what is shown meanwhile */
  display: DisplayOptions | null;
  /** false while what was read so far waits to be passed on: the tables of the kernel side keep the rest */
  mayPoll: () => boolean;
  /** after each turn; a reason ends it */
  turn: () => string | null;
}

/** A ring of events is not read during a look, and the live view looks by itself. */
function looksAgain(display: DisplayOptions | null): boolean {
  return display === null || !(display.events || isLive(display));
}

/** Polls until somebody asks to stop, time is up, or the last process has gone. Returns which. */
export async function watch(session: Session, options: WatchOptions, watching: Watching): Promise<string> {
  const { stop, doing, mayPoll, turn, log } = watching;
  if (!process.stderr.isTTY || watching.display?.events === true)
    process.stderr.write(
      `${doing} ${targetName(session.target)} with the ${session.hooks.set} hooks; Ctrl-C reports\n`,
    );
  if (!session.ledger.hasTraced) process.stderr.write(`socktrace: ${escapeText(nobodyMatches(options))}\n`);
  const end = options.duration === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.duration;
  const looks = looksAgain(watching.display) ? new Looks(session) : null;
  if (looks === null) session.takeCensus();
  const display = watching.display === null ? null : await openDisplay(session, stop, watching.display);
  const room = new Room();
  let reason: string | null = null;
  try {
    while (reason === null && !stop.requested && performance.now() < end && !session.targetsGone) {
      if (mayPoll()) {
        session.poll();
        looks?.whenDue();
      }
      reason = turn();
      if (reason === null && !room.isLeft) {
        stop.giveUp();
        reason = 'no memory was left';
      }
      display?.show(() => session.report());
      const pollMs = session.isBusy ? POLL_MS : QUIET_POLL_MS;
      await stop.wait(Math.min(pollMs, Math.max(0, end - performance.now())));
    }
    // The exit is told before descriptors are closed: what was held is known only afterwards.
    const closed = performance.now() + EXIT_PATIENCE_MS;
    while (
      reason === null &&
      !stop.requested &&
      session.targetsGone &&
      session.held > 0 &&
      performance.now() < closed
    ) {
      if (mayPoll()) session.poll();
      reason = turn();
      await stop.wait(POLL_MS);
    }
  } finally {
    display?.close();
  }
  // Not before: the screen of a live view takes with it what is written meanwhile.
  if (stop.gaveUp) process.stderr.write(`socktrace: the trace ends here, it needs more than ${memoryInWords()}\n`);
  await session.settle((ms) => sleep(ms));
  reason ??= stop.requested ? 'asked to stop' : session.targetsGone ? 'every process has exited' : 'time is up';
  log.debug({ reason }, 'stopping');
  return reason;
}

/** `socktrace --pid N`: traces until Ctrl-C, the duration's end or the last target's exit, then reports. */
import { type Command, Option } from 'commander';
import type { SocketEvent } from '../kernel/decode.ts';
import type { LedgerInput } from '../ledger/types.ts';
import { renderEvent } from '../render/event.ts';
import { renderJson, renderJsonLine } from '../render/json.ts';
import { renderText } from '../render/text.ts';
import type { Report } from '../report/types.ts';
import { commandName } from './command-name.ts';
import { canShowLive } from './display.ts';
import { ExitCode, exitCodeOf, UsageError } from './exit-codes.ts';
import { GROUPS } from './help.ts';
import { LiveRecorder } from './live-recorder.ts';
import { createLog } from './log.ts';
import { countArgument } from './options.ts';
import { dropPrivileges, stillToDo } from './privileges.ts';
import { triage } from './snapshot.ts';
import { StopRequest } from './stop.ts';
import { styleFor } from './style.ts';
import { addWatchOptions, openSession, targetsOf, type WatchOptions, watch } from './watch.ts';

export interface TraceOptions extends WatchOptions {
  events?: 'all';
  json?: boolean;
  ndjson?: boolean;
  failOnLeak?: boolean;
  eventRing: number;
}

/** Output that its reader has not taken yet waits in memory. */
const MOST_UNREAD_BYTES = 16 << 20;
const EVENT_RING_BYTES = 1 << 20;

/** Options that make sense while something is traced only. */
const LENGTHY = ['duration', 'events', 'ndjson', 'failOnLeak', 'debuginfod'] as const;

export const FAIL_ON_LEAK = 'exit with 10 when there is a leak, with 11 when it is not known';

/** Adds the options of a trace to a command. */
export function addTraceOptions(command: Command): Command {
  return addWatchOptions(command)
    .optionsGroup(GROUPS.output)
    .option('--json', 'the report as one JSON document')
    .option('--ndjson', 'what is observed, a JSON line each as it comes, then the report')
    .addOption(
      new Option('--events <which>', 'each change of each traced socket on stderr')
        .choices(['all'])
        .default(undefined, 'none'),
    )
    .optionsGroup(GROUPS.verdict)
    .option('--fail-on-leak', FAIL_ON_LEAK)
    .optionsGroup(GROUPS.expert)
    .addOption(
      new Option('--event-ring <bytes>', 'size of the ring that --events come through')
        .argParser(countArgument(1 << 30))
        .default(EVENT_RING_BYTES),
    );
}

function noProcess(): string {
  const command = commandName();
  return `no process given: ${command} --pid PID ("${command}" alone shows what exists now, "${command} demo unused" makes a process to try it on)`;
}

/** Runs one trace and returns the exit status. Errors of use and of the kernel are thrown as such. */
export async function trace(options: TraceOptions): Promise<ExitCode> {
  if (options.json && options.ndjson)
    throw new UsageError('--json prints one document, --ndjson many lines: give one of them');
  const targets = targetsOf(options);
  if (targets === null) {
    if (LENGTHY.some((name) => options[name] !== undefined)) throw new UsageError(noProcess());
    return triage(options.json ?? false);
  }
  const log = await createLog(options.verbose ?? false);
  // Before the slow part: an early Ctrl-C must not kill without detaching.
  const stop = new StopRequest(options.events === undefined ? [process.stdout] : [process.stdout, process.stderr]);
  const json = options.json === true || options.ndjson === true;
  const live = !json && options.events === undefined && canShowLive();
  const recorder = live ? new LiveRecorder(fileNameOf(options)) : undefined;
  const sinks = {
    ...(options.ndjson ? { input: printLine } : {}),
    ...(recorder === undefined ? {} : { input: (input: LedgerInput) => recorder.take(input) }),
    ...(options.events === 'all' ? { event: printEvent } : {}),
  };
  const ring = options.events === 'all' ? ringBytes(options.eventRing) : null;
  try {
    const session = openSession(options, targets, ring, sinks, log);
    try {
      dropPrivileges(stillToDo(options, { look: true, recording: live }), log);
      const because = await watch(session, options, {
        stop,
        log,
        doing: 'tracing',
        display: { events: options.events !== undefined, json, ...(recorder === undefined ? {} : { recorder }) },
        mayPoll: () =>
          recorder?.isBehind !== true && (!options.ndjson || process.stdout.writableLength < MOST_UNREAD_BYTES),
        turn: () => null,
      });
      const report = session.finish({ census: true });
      session.close();
      const recorded = await recorder?.close(because);
      print(report, options);
      if (recorded) process.stderr.write(`\n${recorded}\n`);
      return stop.gaveUp ? ExitCode.internalError : exitCodeOf(report, options.failOnLeak ?? false);
    } finally {
      session.close();
    }
  } finally {
    stop.dispose();
  }
}

/** What is traced, in the name of a file. */
function fileNameOf({ pid }: TraceOptions): string {
  return pid?.[0] === undefined ? 'host' : String(pid[0]);
}

/** The ring wants a power of two of pages. */
function ringBytes(asked: number): number {
  return Math.max(4096, 2 ** Math.ceil(Math.log2(asked)));
}

function print(report: Report, options: TraceOptions): void {
  if (options.ndjson) process.stdout.write(renderJsonLine({ type: 'report', report }));
  else process.stdout.write(options.json ? renderJson(report) : renderText(report, styleFor(process.stdout)));
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

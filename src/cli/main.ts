#!/usr/bin/env node
/** The command line: commands, and how errors become exit statuses. */
import { Command, CommanderError } from 'commander';
import { escapeText } from '../render/escape.ts';
import { VERSION } from '../version.ts';
import { addDemo } from './demo.ts';
import { addDoctor } from './doctor.ts';
import { CannotTraceError, ExitCode, RunFailure, UsageError } from './exit-codes.ts';
import { guardOutput } from './output.ts';
import { addRecord } from './record.ts';
import { addReport } from './report.ts';
import { addRun } from './run.ts';
import { addSnapshot, addSockstat } from './snapshot.ts';
import { addTraceOptions, type TraceOptions, trace } from './trace.ts';

const EXAMPLES = `Examples:
  socktrace                                   what exists now: sums, suspects, ports, and what to type next
  socktrace snapshot --kind closed-unknown    the sockets themselves
  socktrace sockstat                          what "closed" of ss -s is made of
  socktrace --pid 1234                        trace until Ctrl-C, then report
  socktrace --pid 1234 --duration 2m          trace for two minutes
  socktrace --pid 1234 --json | jq .findings  the report as one JSON document
  socktrace record --pid 1234 -o leak.ndjson  a trace into a file, crash-safe
  socktrace report leak.ndjson                what it says, on any machine
  socktrace run -- npm test                   a command and its children, from the first instruction to the end
  socktrace --comm nginx                      every process of this name (--cgroup, --user, --netns-of, --all)
  socktrace doctor                            what this kernel and this user permit
  socktrace demo unused                       a leaking service to try it on
`;

const EXIT_STATUS = `
Exit status: 0 done, 1 internal error, 2 usage, 3 cannot trace; with --fail-on-leak 10 leak, 11 not known.
"run" gives its command's status (10 and 11 when that is 0), 125 when it fails itself, 126 and 127 as the shell.`;

/** Its own failures must not look like its command's. */
let runs = false;

async function main(): Promise<void> {
  const program = new Command('socktrace')
    .description('Who is leaking TCP sockets and ports on this host, and how many.')
    .version(VERSION)
    .showSuggestionAfterError()
    .exitOverride()
    // Not by itself where the bare command does something, too.
    .helpCommand(true)
    // What stands after a command is the command's.
    .enablePositionalOptions()
    .addHelpText('before', EXAMPLES)
    .addHelpText('after', EXIT_STATUS);
  addTraceOptions(program).action(async (options: TraceOptions) => {
    process.exitCode = await trace(options);
  });
  addSnapshot(program);
  addSockstat(program);
  addRecord(program);
  addReport(program);
  addDoctor(program);
  addDemo(program);
  addRun(program);
  program.hook('preSubcommand', (_, command) => {
    runs = command.name() === 'run';
  });
  await program.parseAsync();
}

guardOutput();
try {
  await main();
} catch (error) {
  // Set, not exit(): a pipe may still hold the report.
  process.exitCode = exitCodeFor(error);
}

function exitCodeFor(error: unknown): number {
  if (error instanceof RunFailure) {
    tell(error, ExitCode.runFailed);
    return error.code;
  }
  const code = report(error);
  return runs && code !== ExitCode.done ? ExitCode.runFailed : code;
}

function report(error: unknown): ExitCode {
  // commander has printed its own message; help and version come here too, with status 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
  if (error instanceof UsageError) return tell(error, ExitCode.usage);
  if (error instanceof CannotTraceError) return tell(error, ExitCode.cannotTrace);
  process.stderr.write(
    `socktrace: internal error: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`,
  );
  return ExitCode.internalError;
}

function tell(error: Error, code: ExitCode): ExitCode {
  process.stderr.write(`socktrace: ${error.message.split('\n').map(escapeText).join('\n')}\n`);
  return code;
}

#!/usr/bin/env node
/** The command line: commands, and how errors become exit statuses. */
import { Command, CommanderError } from 'commander';
import { escapeText } from '../render/escape.ts';
import { VERSION } from '../version.ts';
import { addDemo } from './demo.ts';
import { addDoctor } from './doctor.ts';
import { CannotTraceError, ExitCode, UsageError } from './exit-codes.ts';
import { guardOutput } from './output.ts';
import { addRecord } from './record.ts';
import { addReport } from './report.ts';
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
  socktrace doctor                            what this kernel and this user permit
  socktrace demo unused                       a leaking service to try it on
`;

const EXIT_STATUS = `
Exit status: 0 done, 1 internal error, 2 usage, 3 cannot trace; with --fail-on-leak 10 leak, 11 not known.`;

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
  await program.parseAsync();
}

guardOutput();
try {
  await main();
} catch (error) {
  // Set, not exit(): a pipe may still hold the report.
  process.exitCode = report(error);
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

#!/usr/bin/env node
/** The command line carried out, and how errors become exit statuses. */
import { CommanderError } from 'commander';
import { escapeText } from '../render/escape.ts';
import { CannotTraceError, ExitCode, RunFailure, UsageError } from './exit-codes.ts';
import { explainMistake, misplacedOptions } from './mistakes.ts';
import { guardOutput } from './output.ts';
import { buildProgram } from './program.ts';

const program = buildProgram();
const words = process.argv.slice(2);
/** What the words are for, as far as that is known. */
let command = program;

async function main(): Promise<void> {
  program.hook('preSubcommand', (_, subcommand) => {
    command = subcommand;
    const problem = misplacedOptions(program, subcommand, words);
    if (problem !== null) throw new UsageError(problem);
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
  // Its own failures must not look like its command's.
  return command.name() === 'run' && code !== ExitCode.done ? ExitCode.runFailed : code;
}

function report(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    // Help and version come here, too.
    if (error.exitCode === 0) return ExitCode.done;
    return tell(new UsageError(explainMistake(error, { words, program, command })), ExitCode.usage);
  }
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

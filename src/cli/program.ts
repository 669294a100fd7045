/** The tree of commands: help, completion and tests are made from it. */
import { Command, Option } from 'commander';
import { VERSION } from '../version.ts';
import { addCompletion } from './completion.ts';
import { addDemo } from './demo.ts';
import { addDoctor } from './doctor.ts';
import { addHelp, GROUPS, HELP, helpColumns, withExamples } from './help.ts';
import { addRecord } from './record.ts';
import { addReport } from './report.ts';
import { addRun } from './run.ts';
import { addSnapshot, addSockstat } from './snapshot.ts';
import { addTraceOptions, type TraceOptions, trace } from './trace.ts';

const EXAMPLES = [
  { line: 'socktrace', why: 'what exists now: sums, suspects, ports, and what to type next' },
  { line: 'socktrace --pid 1234', why: 'trace a process until Ctrl-C, then report' },
  { line: 'socktrace --pid 1234 --duration 2m', why: 'for two minutes' },
  { line: 'socktrace --comm nginx', why: 'every process of this name' },
  { line: 'socktrace --cgroup nginx.service', why: 'a systemd unit, a container or a cgroup' },
  { line: 'socktrace snapshot --pid 1234', why: 'its sockets, one by one, without tracing' },
  { line: 'socktrace sockstat', why: 'what "closed" of ss -s is made of' },
  { line: 'socktrace record --pid 1234 -o leak.ndjson', why: 'a trace into a file, crash-safe' },
  { line: 'socktrace report leak.ndjson', why: 'what it says, on any machine, without root' },
  { line: 'socktrace run -- npm test', why: 'a command, from its first instruction to its end' },
  { line: 'socktrace demo unused', why: 'a service that leaks, to try it on' },
] as const;

const EXIT_STATUS = `
Exit status: 0 done, 1 internal error, 2 usage, 3 cannot trace; with
--fail-on-leak 10 leak, 11 not known. "run" gives its command's status (10 and
11 when that is 0), 125 when it fails itself, 126 and 127 as the shell.`;

/** Everything that can be typed. */
export function buildProgram(): Command {
  const program = new Command('socktrace')
    .description(
      'Who is leaking TCP sockets and ports on this host, how many, and which line of code does it. Bare "socktrace" looks at what exists; with --pid and the like it traces, until Ctrl-C.',
    )
    .usage('[options]\n       socktrace <command> [options]')
    .exitOverride()
    // Mistakes are explained in one place, with what was meant.
    .configureOutput({ outputError: () => {}, getOutHelpWidth: helpColumns })
    .configureHelp(HELP)
    .addHelpOption(new Option('-h, --help', 'show this page').helpGroup(GROUPS.other))
    // Ours says when there is no such command.
    .helpCommand(false)
    // What stands after a command is the command's.
    .enablePositionalOptions()
    .addHelpText('after', EXIT_STATUS);
  withExamples(program, EXAMPLES);
  addTraceOptions(program)
    .optionsGroup(GROUPS.other)
    .version(VERSION, '-V, --version', 'print the version')
    .action(async (options: TraceOptions) => {
      process.exitCode = await trace(options);
    });
  addSnapshot(program);
  addSockstat(program);
  addRecord(program);
  addReport(program);
  addRun(program);
  addDoctor(program);
  addDemo(program);
  addCompletion(program);
  addHelp(program);
  return program;
}

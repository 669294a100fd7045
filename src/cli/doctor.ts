/** `socktrace doctor`: tries what tracing needs, and gives the fix for each refusal. */
import { release } from 'node:os';
import type { Command } from 'commander';
import { VERSION } from '../version.ts';
import { commandName } from './command-name.ts';
import { type CheckResult, runChecks } from './doctor-checks.ts';
import { ExitCode } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
import { grantCommand } from './refusal.ts';
import { styleFor } from './style.ts';

/** What `doctor --json` prints; additions keep the version. */
export interface DoctorDocument {
  schemaVersion: 1;
  tool: { name: 'socktrace'; version: string };
  kernel: string;
  /** effective user */
  uid: number;
  /** whether a trace is possible: nothing that is needed is refused */
  possible: boolean;
  checks: CheckResult[];
}

/** Adds the command. Its exit status is 0 when a trace is possible, else 3. */
export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .summary('what this kernel and this user permit')
    .description('Tries what this kernel and this user permit, and gives the fix for each refusal.');
  withExamples(command, [
    { line: 'socktrace doctor', why: 'exit status 0 when a trace is possible, else 3' },
    { line: 'socktrace doctor --json', why: 'the same for a machine' },
  ])
    .optionsGroup(GROUPS.output)
    .option('--json', 'as one JSON document')
    .action(({ json }: { json?: boolean }) => {
      const document = examine();
      process.stdout.write(json ? `${JSON.stringify(document, null, 2)}\n` : textOf(document));
      process.exitCode = document.possible ? ExitCode.done : ExitCode.cannotTrace;
    });
}

function examine(): DoctorDocument {
  const checks = runChecks();
  return {
    schemaVersion: 1,
    tool: { name: 'socktrace', version: VERSION },
    kernel: release(),
    uid: process.geteuid?.() ?? -1,
    possible: checks.every(({ weight, status }) => weight === 'preferred' || status !== 'refused'),
    checks,
  };
}

function textOf({ checks, possible, uid }: DoctorDocument): string {
  const lines = checks.flatMap(linesOf);
  lines.push(
    '',
    possible
      ? `socktrace can trace here: ${commandName()} --pid PID`
      : 'socktrace cannot trace here until the refusals above are mended.',
  );
  const missing = checks.filter(({ what, status }) => what.startsWith('CAP_') && status === 'refused');
  if (missing.length > 0) lines.push('With these rights, too:', `  ${grantCommand(missing.map(({ what }) => what))}`);
  if (uid !== 0 && !possible) lines.push(`As root the kernel may refuse less: sudo ${commandName()} doctor`);
  return `${lines.join('\n')}\n`;
}

function linesOf({ what, weight, status, problem, fix }: CheckResult): string[] {
  const style = styleFor(process.stdout);
  if (problem === null) return [`${style.green('ok     ')} ${what}`];
  const mark =
    status === 'unknown' ? style.dim('unknown') : weight === 'needed' ? style.red('refused') : style.dim('absent ');
  return [`${mark} ${what}: ${problem}`, `        fix: ${fix}`];
}

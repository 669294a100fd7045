/** `socktrace demo KIND`: a service that leaks for real, in a network namespace of its own. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Argument, type Command } from 'commander';
import { packageFile } from '../package-files.ts';
import { commandName } from './command-name.ts';
import { CannotTraceError, ExitCode } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
import { countArgument } from './options.ts';

const SERVICE = packageFile('build/leaky-service');

/** Of the service, and `list`, which explains them. */
export const DEMO_KINDS = [
  'list',
  'unused',
  'bound-inactive',
  'bind-failed',
  'connect-failed',
  'disconnected',
  'close-wait',
  'incident',
  'healthy',
] as const;

const EXAMPLES = [
  { line: 'socktrace demo list', why: 'what it can leak' },
  { line: 'socktrace demo unused', why: 'says its pid; then, elsewhere: socktrace --pid PID' },
  { line: 'socktrace demo incident --rate 100', why: 'holds every port of its range in two seconds' },
] as const;

interface DemoOptions {
  rate: number;
  max: number;
  lifetime: number;
}

export function addDemo(program: Command): void {
  const command = program
    .command('demo')
    .summary('a service that leaks for real, to try it on')
    .description('Runs a service that leaks sockets for real, in a network namespace of its own, to try socktrace on.');
  withExamples(command, EXAMPLES)
    .addArgument(new Argument('<kind>', 'what it leaks, or list').choices(DEMO_KINDS))
    .optionsGroup(GROUPS.other)
    .option('--rate <n>', 'sockets a second', countArgument(10_000), 20)
    .option('--max <n>', 'stop leaking after so many sockets', countArgument(15_000), 1_000)
    .option('--lifetime <seconds>', 'exit after so many seconds', countArgument(86_400), 300)
    .action(async (kind: string, options: DemoOptions) => {
      process.exitCode = await demo(kind, options);
    });
}

/** Runs the service until it ends; signals reach it through the terminal's process group or are passed on. */
async function demo(kind: string, options: DemoOptions): Promise<number> {
  if (!existsSync(SERVICE)) throw new CannotTraceError('the demo service is not built: run "npm run build:native"');
  const limits = ['--rate', String(options.rate), '--max', String(options.max), '--lifetime', String(options.lifetime)];
  const child = spawn(SERVICE, kind === 'list' ? ['--list'] : [kind, ...limits], { stdio: 'inherit' });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGINT', pass);
  process.on('SIGTERM', pass);
  if (kind !== 'list' && child.pid !== undefined)
    process.stderr.write(`in another terminal: ${commandName()} --pid ${child.pid}\n`);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? ExitCode.done));
  });
}

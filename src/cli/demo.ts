/** `socktrace demo KIND`: a service that leaks for real, in a network namespace of its own. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { CannotTraceError, ExitCode } from './exit-codes.ts';
import { countArgument } from './options.ts';

const SERVICE = new URL('../../build/leaky-service', import.meta.url).pathname;

interface DemoOptions {
  rate: number;
  max: number;
  lifetime: number;
}

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('run a service that leaks sockets for real, to try socktrace on ("demo list" names the kinds)')
    .argument('<kind>', 'what it leaks, or "list"')
    .option('--rate <n>', 'sockets a second', countArgument(10_000), 20)
    .option('--max <n>', 'stop leaking after so many', countArgument(15_000), 1_000)
    .option('--lifetime <seconds>', 'exit after so long', countArgument(86_400), 300)
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
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? ExitCode.done));
  });
}

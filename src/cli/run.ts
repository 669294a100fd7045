/** `socktrace run -- CMD ARGS`: a command from its first instruction to its end, children included, then its leaks. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { KernelError, launcherPath, letGo, passSignalsTo, stopPassingSignals } from '../kernel/binding.ts';
import { errnoName } from '../ledger/errno.ts';
import { inheritedDescriptors } from '../procfs/inherited.ts';
import { memoryInWords } from '../recording/memory.ts';
import { renderJson } from '../render/json.ts';
import { renderRun, renderRunSummary } from '../render/run.ts';
import { renderText } from '../render/text.ts';
import type { Report } from '../report/types.ts';
import type { Session } from '../session/session.ts';
import { ExitCode, exitCodeOf, RunFailure, UsageError } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
import { createLog } from './log.ts';
import { Looks } from './looks.ts';
import { dropPrivileges, stillToDo } from './privileges.ts';
import { Room } from './room.ts';
import { repeated } from './selection.ts';
import { styleFor } from './style.ts';
import { checkedTargets, requireOwnPids } from './targets.ts';
import { FAIL_ON_LEAK } from './trace.ts';
import { addSessionOptions, openSession, type SessionOptionsAsked } from './watch.ts';

interface RunOptions extends Omit<SessionOptionsAsked, 'follow'> {
  json?: boolean;
  output?: string;
  failOnLeak?: boolean;
  allow?: string[];
  allowFile?: string[];
}

const EXAMPLES = [
  { line: 'socktrace run -- npm test', why: 'what it leaked, after its own output' },
  { line: 'socktrace run --fail-on-leak -- npm test', why: 'and exit status 10 when it leaked' },
  {
    line: 'socktrace run --fail-on-leak --allow warm_pool -- ./service --once',
    why: 'but not for what warm_pool() opens',
  },
  { line: 'socktrace run --json -o leaks.json -- ./service', why: 'the whole report into a file' },
] as const;

/** Code can be read while its process lives, and tests are short. */
const POLL_MS = 5;
/** Children that end with the command may do so a little later, and freeing a large process's memory takes a second. */
const EXIT_PATIENCE_MS = 3_000;
/** For children that go on: they are no reason to wait. */
const CHILD_PATIENCE_MS = 500;
/** While there is nothing but its end to wait for. */
const LONG_MS = 60_000;

export function addRun(program: Command): void {
  const run = program
    .command('run')
    .summary('trace a command, from its first instruction to its end')
    .description(
      'Traces a command from its first instruction, with its children, and reports on stderr what it leaked. Of a clean run nothing is said, unless an --allow matched nothing.',
    )
    .usage('[options] -- <command> [args...]')
    .argument('<command>', 'found as the shell finds it')
    .argument('[args...]', 'passed on as they are')
    // What stands after the command is the command's.
    .passThroughOptions();
  addSessionOptions(withExamples(run, EXAMPLES))
    .optionsGroup(GROUPS.verdict)
    .option('--fail-on-leak', `${FAIL_ON_LEAK}, if the command gave 0`)
    .option(
      '--allow <pattern>',
      'what is no leak here: text of its key, program or call path; * is any text, ^ and $ the ends; repeatable',
      repeated,
    )
    .option('--allow-file <file>', 'a file of such patterns, one a line, # for comments; repeatable', repeated)
    .optionsGroup(GROUPS.output)
    .option('-o, --output <file>', 'write the whole report there, leak or none (default: leaks on stderr)')
    .addOption(new Option('--json', 'as a JSON document; without -o on stderr, after what the command says'))
    .action(async (command: string, args: string[], options: RunOptions) => {
      process.exitCode = await runCommand([command, ...args], options);
    });
}

async function runCommand(words: string[], options: RunOptions): Promise<number> {
  requireOwnPids();
  const allow = allowances(options);
  const output = options.output === undefined ? null : openOutput(options.output);
  const log = await createLog(options.verbose ?? false);
  const command = await HeldCommand.start(words);
  let session: Session;
  try {
    const targets = checkedTargets([command.pid]);
    session = openSession({ ...options, follow: true }, { targets, command: words, allow }, null, {}, log);
  } catch (error) {
    command.abandon();
    throw error;
  }
  try {
    // The whole document has the sums of the host, which a look at all sockets takes half a second for.
    const whole = options.verbose || options.json || output !== null;
    // The command has been started, and keeps its own.
    dropPrivileges(stillToDo(options, { look: whole, command: true }), log);
    const isWhole = await follow(session, command, whole ? new Looks(session) : null);
    if (command.error !== null) return command.refused();
    await session.settle((ms) => sleep(ms));
    const report = session.finish({ census: whole });
    session.close();
    const code = await command.end();
    if (!isWhole)
      process.stderr.write(`socktrace: the trace ended before the command, it needs more than ${memoryInWords()}\n`);
    tell(report, options, output);
    if (code !== ExitCode.done) return code;
    const concluded = exitCodeOf(report, options.failOnLeak ?? false);
    // What leaked later nobody knows; a leak is one all the same.
    return isWhole || concluded === ExitCode.leak ? concluded : ExitCode.runFailed;
  } finally {
    session.close();
  }
}

/** Lets the command go, and polls until it has ended, or could not be executed. False: it goes on, and no memory is left. */
async function follow(session: Session, command: HeldCommand, looks: Looks | null): Promise<boolean> {
  command.go();
  const room = new Room();
  while (command.code === null) {
    session.poll();
    looks?.whenDue();
    if (!room.isLeft) return false;
    await command.wait(POLL_MS);
  }
  await command.end();
  if (command.error !== null) return true;
  const ended = performance.now();
  const since = (): number => performance.now() - ended;
  session.poll();
  // The end is told before descriptors are closed: what was held is known only afterwards.
  while (session.targetsGone ? session.held > 0 && since() < EXIT_PATIENCE_MS : since() < CHILD_PATIENCE_MS) {
    await command.wait(POLL_MS);
    session.poll();
  }
  return true;
}

function tell(report: Report, { json, output: name, verbose }: RunOptions, output: number | null): void {
  if (output !== null && name !== undefined) {
    writeSync(output, json ? renderJson(report) : renderText(report));
    closeSync(output);
    process.stderr.write(renderRunSummary(report, name));
  } else if (json) {
    process.stderr.write(renderJson(report));
  } else {
    const style = styleFor(process.stderr);
    process.stderr.write(verbose ? renderText(report, style) : renderRun(report, style));
  }
}

function openOutput(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (error) {
    throw new UsageError(`-o: ${error instanceof Error ? error.message : error}`);
  }
}

/** @throws UsageError for a file that cannot be read, and for a pattern that would allow everything */
function allowances({ allow = [], allowFile = [] }: RunOptions): string[] {
  const patterns = [...allow, ...allowFile.flatMap(readPatterns)];
  if (patterns.some((pattern) => /^[\^*$]*$/.test(pattern)))
    throw new UsageError('--allow: an empty pattern would allow every leak');
  return patterns;
}

function readPatterns(path: string): string[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n');
    return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    throw new UsageError(`--allow-file: ${error instanceof Error ? error.message : error}`);
  }
}

/** Why there is none for the command. */
function noProcess({ code, message }: NodeJS.ErrnoException): string {
  return code === 'EMFILE' ? 'more files are needed than may be open (RLIMIT_NOFILE): ulimit -n 1024' : message;
}

/**
 * A command in its own process, which waits to become it. It is in our process group and has our terminal, so that keys
 * reach it (and stop and continue both of us); other signals are passed on.
 */
class HeldCommand {
  readonly #child: ChildProcess;
  readonly #door: Duplex;
  readonly #name: string;
  #code: number | null = null;
  #error: number | null = null;
  #wake: () => void = () => {};

  private constructor(child: ChildProcess, door: number, name: string) {
    this.#child = child;
    this.#name = name;
    this.#door = child.stdio[door] as Duplex;
    this.#door.on('error', () => {}); // it has ended: its exit tells
    this.#door.on('data', (errno: Buffer) => {
      this.#error = errno[0] ?? null;
    });
    // "close" comes after all that it said at the door.
    child.once('close', (code, signal) => {
      this.#code = signal === null ? (code ?? ExitCode.runFailed) : 128 + constants.signals[signal];
      this.#wake();
    });
  }

  static async start(words: readonly string[]): Promise<HeldCommand> {
    const inherited = inheritedDescriptors();
    // Says when to go on, at a number that is not the command's.
    let door = 3;
    while (inherited.includes(door)) door += 1;
    const stdio: ('inherit' | 'ignore' | 'pipe' | number)[] = ['inherit', 'inherit', 'inherit'];
    for (const number of inherited) stdio[number] = number;
    stdio[door] = 'pipe';
    const child = spawn(launcherPath(), [`${door}`, ...words], { stdio: Array.from(stdio, (way) => way ?? 'ignore') });
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw new RunFailure(noProcess(error as NodeJS.ErrnoException), ExitCode.runFailed);
    }
    const held = new HeldCommand(child, door, words[0] ?? '');
    try {
      // Whoever waits for the end of a pipe waits for the command, not for us.
      letGo(inherited);
      passSignalsTo(held.pid);
    } catch (error) {
      held.abandon();
      throw error instanceof KernelError ? new RunFailure(error.message, ExitCode.runFailed) : error;
    }
    return held;
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** As a shell would have it; null while it runs. */
  get code(): number | null {
    return this.#code;
  }

  /** Errno of the exec, null when it succeeded. */
  get error(): number | null {
    return this.#error;
  }

  go(): void {
    this.#door.write('g');
  }

  /** It ends without having been the command. */
  abandon(): void {
    stopPassingSignals();
    this.#door.destroy();
  }

  /** Resolves when it has ended, with its exit status. */
  async end(): Promise<number> {
    while (this.#code === null) await this.wait(LONG_MS);
    stopPassingSignals();
    return this.#code;
  }

  /** Resolves after `ms`, or at once when it ends. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  refused(): never {
    throw new RunFailure(`cannot run ${this.#name}: ${errnoName(this.#error ?? 0)}`, this.#code ?? ExitCode.runFailed);
  }
}

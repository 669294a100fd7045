/** `socktrace record`: a session into a file, to be read elsewhere and later. */
import { type Command, InvalidArgumentError } from 'commander';
import { checkFile, FileRefusedError } from '../recording/file.ts';
import { RecordingWriter } from '../recording/writer.ts';
import { escapeText } from '../render/escape.ts';
import { renderJson } from '../render/json.ts';
import { countOf, formatBytes } from '../render/numbers.ts';
import { headline } from '../render/text/headline.ts';
import { renderText } from '../render/text.ts';
import type { Report } from '../report/types.ts';
import { commandName } from './command-name.ts';
import { ExitCode, exitCodeOf, UsageError } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
import { createLog } from './log.ts';
import { dropPrivileges, stillToDo } from './privileges.ts';
import { shellWord } from './shell-word.ts';
import { parseSize } from './size.ts';
import { StopRequest } from './stop.ts';
import { styleFor } from './style.ts';
import { FAIL_ON_LEAK } from './trace.ts';
import { addWatchOptions, openSession, targetsOf, type WatchOptions, watch } from './watch.ts';

interface RecordOptions extends WatchOptions {
  output?: string;
  force?: boolean;
  maxSize?: number;
  json?: boolean;
  failOnLeak?: boolean;
}

/** Lines that wait for a slow disk; more are not read before it has taken some. */
const MOST_WAITING = 16 << 20;

const EXAMPLES = [
  { line: 'socktrace record --pid 1234 -o leak.ndjson', why: 'until Ctrl-C, or until the process exits' },
  {
    line: 'socktrace record --pid 1234 -o leak.ndjson.gz --duration 2h --max-size 1G',
    why: 'compressed; two hours or 1 GB, whatever comes first',
  },
  { line: 'socktrace report leak.ndjson', why: 'then, on any machine' },
] as const;

export function addRecord(program: Command): void {
  const command = program
    .command('record')
    .summary('a trace into a file, for "report" on any machine')
    .description(
      'Records a trace into a file, for "socktrace report" on any machine. What was observed until half a second before a kill or a power cut can be read.',
    );
  addWatchOptions(withExamples(command, EXAMPLES))
    .optionsGroup(GROUPS.howLong)
    .option('--max-size <size>', 'stop when the file has 500k, 100M or 2G bytes (default: no limit)', sizeArgument)
    .optionsGroup(GROUPS.output)
    .option('-o, --output <file>', 'the recording, needed; a name that ends in .gz is compressed')
    .option('-f, --force', 'replace that file when it exists')
    .option('--json', 'print the report at the end, as one JSON document')
    .optionsGroup(GROUPS.verdict)
    .option('--fail-on-leak', FAIL_ON_LEAK)
    .action(async (options: RecordOptions) => {
      process.exitCode = await record(options);
    });
}

function sizeArgument(text: string): number {
  const parsed = parseSize(text);
  if (parsed === null) throw new InvalidArgumentError('a size is a number with its unit, such as 500k, 100M or 2G.');
  return parsed;
}

async function record(options: RecordOptions): Promise<ExitCode> {
  const { output, force = false } = options;
  const targets = targetsOf(options);
  if (targets === null) throw new UsageError(`no process given: ${commandName()} record --pid PID -o FILE`);
  if (output === undefined) throw new UsageError('no file given: -o leak.ndjson, or -o leak.ndjson.gz to compress it');
  return refused(async () => {
    checkFile(output, force);
    const log = await createLog(options.verbose ?? false);
    // Before the slow part: an early Ctrl-C must not kill without detaching.
    const stop = new StopRequest([]);
    try {
      const writer = new RecordingWriter({
        pack: output.endsWith('.gz'),
        mostBytes: options.maxSize ?? Number.POSITIVE_INFINITY,
      });
      const session = openSession(options, targets, null, { input: (input) => writer.write(input) }, log);
      try {
        // Not before: a file that is to be replaced must not go for a trace that the kernel refuses.
        writer.open(output, force);
        // Whoever is told that it is recorded can read it, whatever ends it.
        await writer.flush();
        // After: root may write where it is not the owner.
        dropPrivileges(stillToDo(options, { look: true }), log);
        const because = await watch(session, options, {
          stop,
          log,
          doing: 'recording',
          // No live view: what is traced is read from the file.
          display: { events: false, json: true },
          mayPoll: () => writer.waiting < MOST_WAITING,
          turn: () => endOf(writer, options),
        });
        // The last look takes its time.
        await writer.flush();
        const report = session.finish({ census: true });
        session.close();
        await writer.close(because);
        const code = tell(report, writer, because, output, options);
        return stop.gaveUp ? ExitCode.internalError : code;
      } catch (error) {
        await writer.close('an error');
        throw error;
      } finally {
        session.close();
      }
    } finally {
      stop.dispose();
    }
  });
}

async function refused<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof FileRefusedError ? new UsageError(error.message) : error;
  }
}

/** Why nothing more is to be recorded; null while more is. */
function endOf(writer: RecordingWriter, { maxSize }: RecordOptions): string | null {
  if (writer.failure !== null) return 'the file could not be written';
  return writer.isFull ? `the file has reached --max-size ${formatBytes(maxSize ?? 0)}` : null;
}

/** Messages on stderr; on stdout the verdict, or the whole report where the file cannot give it. */
function tell(
  report: Report,
  writer: RecordingWriter,
  because: string,
  output: string,
  options: RecordOptions,
): ExitCode {
  const { failure, lines, bytes } = writer;
  const name = escapeText(output);
  const style = styleFor(process.stdout);
  if (options.json) process.stdout.write(renderJson(report));
  else if (failure === null) process.stdout.write(`${headline(report, style).join('\n')}\n`);
  else process.stdout.write(renderText(report, style));
  if (failure !== null) {
    process.stderr.write(
      `socktrace: the recording broke off: ${escapeText(failure.message)}; ${formatBytes(bytes)} were written to ${name}, and can be read\n`,
    );
    return ExitCode.internalError;
  }
  process.stderr.write(
    `recorded ${countOf(lines, 'line')}, ${formatBytes(bytes)}, to ${name} (${because})\n\nNEXT\n  ${commandName()} report ${shellWord(output)}\n`,
  );
  return exitCodeOf(report, options.failOnLeak ?? false);
}

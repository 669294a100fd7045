/** `socktrace report FILE...`: what a recording says, on any machine. Needs neither root nor the addon. */
import { closeSync, statSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import { createFile, FileRefusedError } from '../recording/file.ts';
import { RecordingError } from '../recording/format.ts';
import { type Loaded, loadRecording, type Part, spanOf } from '../recording/load.ts';
import type { Replayed } from '../recording/replay.ts';
import { renderDiff } from '../render/diff.ts';
import { escapeText } from '../render/escape.ts';
import { renderFolded } from '../render/folded.ts';
import { renderHtml } from '../render/html.ts';
import { renderJson } from '../render/json.ts';
import { countOf } from '../render/numbers.ts';
import { renderPprof } from '../render/pprof.ts';
import { renderSpeedscope } from '../render/speedscope.ts';
import { STACK_VALUES, type StackValue } from '../render/stacks.ts';
import { PLAIN, type Style } from '../render/style.ts';
import { renderText } from '../render/text.ts';
import { diffReports, type ReportDiff } from '../report/diff.ts';
import { mergeReports, type NamedReport } from '../report/merge.ts';
import { mergeTimelines } from '../report/merge-timelines.ts';
import type { Timeline } from '../report/timeline.ts';
import type { Report } from '../report/types.ts';
import { ExitCode, exitCodeOf, UsageError } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
import { ProgressBar } from './progress.ts';
import { shellWord } from './shell-word.ts';
import { styleFor } from './style.ts';
import { instantsOf, isRelative, type Span, type TimeArgument, timeArgument } from './time-argument.ts';

const FORMATS = ['text', 'json', 'html', 'folded', 'pprof', 'speedscope'] as const;
type Format = (typeof FORMATS)[number];

/** What a file is called that has it. */
const FORMAT_OF_ENDING: readonly (readonly [ending: RegExp, format: Format])[] = [
  [/\.html?$/i, 'html'],
  [/\.speedscope\.json$/i, 'speedscope'],
  [/\.json$/i, 'json'],
  [/\.folded$/i, 'folded'],
  [/\.(?:pb\.gz|pprof)$/i, 'pprof'],
];

interface ReportOptions {
  format: Format;
  weight: StackValue;
  output?: string;
  force?: boolean;
  since?: TimeArgument;
  until?: TimeArgument;
  diff?: boolean;
  failOnLeak?: boolean;
}

/** As it was typed. */
type ReportOptionsGiven = Omit<ReportOptions, 'format'> & { format?: Format; json?: boolean };

const EXAMPLES = [
  { line: 'socktrace report leak.ndjson', why: 'what happened, as text' },
  { line: 'socktrace report leak.ndjson --since 5m', why: 'its last five minutes' },
  { line: 'socktrace report leak.ndjson --since 03:00 --until 03:15:30', why: 'what happened at night' },
  { line: 'socktrace report leak.ndjson --format html -o leak.html', why: 'a page with its timeline, for a browser' },
  { line: 'socktrace report leak.ndjson --json | jq .findings', why: 'the document that the trace would have printed' },
  { line: 'socktrace report web1.ndjson.gz web2.ndjson.gz', why: 'several hosts or times in one' },
  { line: 'socktrace report --diff before.ndjson after.ndjson', why: 'what is new, has grown, is gone' },
  {
    line: 'socktrace report --diff --fail-on-leak before.ndjson after.ndjson',
    why: 'exit status 10 when a leak is new, or has grown',
  },
  {
    line: 'socktrace report leak.ndjson --format folded | flamegraph.pl > leak.svg',
    why: 'a flame graph of who opened them',
  },
  { line: 'socktrace report leak.ndjson --format pprof -o leak.pb.gz', why: 'for go tool pprof -http : leak.pb.gz' },
  { line: 'socktrace report leak.ndjson --format speedscope -o leak.speedscope.json', why: 'for speedscope' },
] as const;

export function addReport(program: Command): void {
  const command = program
    .command('report')
    .summary('what a recording says, on any machine')
    .description('Tells what a recording says: no root, no tracing, on any machine with Node.');
  withExamples(command, EXAMPLES)
    .argument('<file...>', 'recordings, made by "socktrace record"')
    .optionsGroup(GROUPS.output)
    .addOption(
      new Option('--format <format>', 'what to print')
        .choices(FORMATS)
        .default(
          undefined,
          'what the name of FILE ends in: .html, .json, .speedscope.json, .pb.gz, .folded; else text',
        ),
    )
    .option('--json', 'the same as --format json')
    .addOption(
      new Option('--weight <what>', 'what the stacks of --format folded count')
        .choices(STACK_VALUES)
        .default('sockets'),
    )
    .option('-o, --output <file>', 'write to this file (default: standard output)')
    .option('-f, --force', 'replace that file when it exists')
    .optionsGroup(GROUPS.read)
    .option(
      '--since <time>',
      'from 03:00 on (or 03:15:30: the last such time in it, local; 03:00Z is UTC), from 2026-11-24T03:00:00Z on, or from 5m before the end (default: all of it)',
      timeArgument,
    )
    .option('--until <time>', 'as of then, a time as above (default: the end)', timeArgument)
    .option('--diff', 'of two recordings: which findings are new, have grown, or are gone')
    .optionsGroup(GROUPS.verdict)
    .option(
      '--fail-on-leak',
      'exit with 10 when there is a leak in any of them (with --diff: one that is new or has grown), with 11 when it is not known',
    )
    .action(async (files: string[], options: ReportOptionsGiven) => {
      process.exitCode = await report(files, { ...options, format: formatOf(options) });
    });
}

function formatOf({ json, format, output }: ReportOptionsGiven): Format {
  if (json === true) return 'json';
  if (format !== undefined || output === undefined) return format ?? 'text';
  return FORMAT_OF_ENDING.find(([ending]) => ending.test(output))?.[1] ?? 'text';
}

async function report(files: readonly string[], options: ReportOptions): Promise<ExitCode> {
  const { format } = options;
  checkUsage(files, format, options);
  try {
    for (const file of files)
      if (statSync(file, { throwIfNoEntry: false }) === undefined) throw new UsageError(`there is no file ${file}`);
    checkOutput(files, options.output);
    const loaded = await loadAll(files, options);
    const [before, after] = loaded;
    if (options.diff === true && after !== undefined) return diffed(before, after, format, options);
    if (loaded.length > 1) tellOverlaps(loaded);
    const document = loaded.length > 1 ? mergeReports(loaded) : before.report;
    return finish(rendered(document, loaded, format, { ...options, files }), document, options);
  } catch (error) {
    if (isTooMuch(error)) throw new UsageError(`there is too much in it for one report (${error.message})`);
    throw isRefusal(error) ? new UsageError(error.message) : error;
  }
}

function checkUsage(files: readonly string[], format: Format, { diff, output }: ReportOptions): void {
  if (diff === true && files.length !== 2) throw new UsageError('--diff compares two recordings: --diff BEFORE AFTER');
  if (diff === true && format !== 'text' && format !== 'json')
    throw new UsageError(`--diff prints text or --json, not ${format}`);
  if (output !== undefined || !process.stdout.isTTY) return;
  if (format === 'pprof') throw new UsageError('a pprof profile is binary: -o FILE, or a pipe');
  if (format === 'html') throw new UsageError('a page is for a browser: -o FILE, or a pipe');
}

/** With -f, a recording would be replaced by its own report. */
function checkOutput(files: readonly string[], output: string | undefined): void {
  const there = output === undefined ? undefined : statSync(output, { throwIfNoEntry: false });
  if (there === undefined) return;
  for (const file of files) {
    const { dev, ino } = statSync(file);
    if (dev === there.dev && ino === there.ino) throw new UsageError(`${output} is the recording itself: -o ANOTHER`);
  }
}

type Named = NamedReport & Loaded;

async function loadAll(files: readonly string[], options: ReportOptions): Promise<[Named, ...Named[]]> {
  const names = namesOf(files);
  const progress = process.stderr.isTTY ? new ProgressBar(process.stderr, sizesOf(files)) : null;
  const loaded: Named[] = [];
  for (const [i, file] of files.entries()) {
    const show = (bytes: number): void => progress?.show(i, bytes);
    loaded.push({ name: names[i] ?? file, ...(await loadOne(file, options, show)) });
  }
  progress?.clear();
  for (const { name, replayed } of loaded) tellState(name, replayed);
  return loaded as [Named, ...Named[]];
}

async function loadOne(file: string, options: ReportOptions, progress: (bytes: number) => void): Promise<Loaded> {
  try {
    const part = await partOf(file, options);
    return await loadRecording(file, { part, progress, timeline: options.format === 'html' });
  } catch (error) {
    if (isSystemError(error) && error.code === 'EACCES')
      throw new UsageError(`${file} may not be read: recordings are for their owner only`);
    // What read(2) refuses does not say of which file.
    throw isSystemError(error) && !error.message.includes(file) ? new UsageError(`${file}: ${error.message}`) : error;
  }
}

/** Of files in different folders, the whole paths. */
function namesOf(files: readonly string[]): readonly string[] {
  if (new Set(files).size !== files.length) throw new UsageError('one of the recordings is given twice');
  const names = files.map((file) => basename(file));
  return new Set(names).size === names.length ? names : files;
}

function sizesOf(files: readonly string[]): number[] {
  return files.map((file) => statSync(file).size);
}

async function partOf(file: string, { since, until }: ReportOptions): Promise<Part> {
  const span = isRelative(since) || isRelative(until) ? await spanOf(file) : { startMs: 0, endMs: 0 };
  const untilMs = until === undefined ? null : meant('--until', until, span, file);
  if (since === undefined) return { sinceMs: null, untilMs };
  // Around midnight: 23:50 until 00:10 is the 23:50 before.
  const before = since.is === 'time-of-day' ? Math.min(span.endMs, untilMs ?? span.endMs) : span.endMs;
  return { sinceMs: meant('--since', since, { ...span, endMs: before }, file), untilMs };
}

function meant(option: string, time: TimeArgument, span: Span, file: string): number {
  const [ms, earlier] = instantsOf(time, span);
  if (ms !== undefined && earlier !== undefined && time.is === 'time-of-day') {
    const [taken, other] = [ms, earlier].map((at) => new Date(at).toISOString());
    process.stderr.write(
      `socktrace: ${escapeText(`${option} ${time.text} comes twice in ${file}, since clocks were set back: ${taken} is taken, not ${other}`)}\n`,
    );
  }
  if (ms !== undefined) return ms;
  const [start, end] = [span.startMs, span.endMs].map((at) => new Date(at).toISOString());
  const typed = time.is === 'time-of-day' ? time.text : '';
  const zone = time.is === 'time-of-day' && time.zone === 'local' ? `, local time (${typed}Z is UTC)` : '';
  throw new UsageError(`${option} ${typed}${zone}: ${file} has no such time between ${start} and ${end}`);
}

/** What is not as it should be. A recording that was not closed is good as far as it goes. */
function tellState(name: string, { torn, newer, end, damage, cutShort }: Replayed): void {
  const say = (text: string): void => void process.stderr.write(`socktrace: ${escapeText(`${name}: ${text}`)}\n`);
  if (torn > 0) say(`${countOf(torn, 'line')} could not be read, and ${torn === 1 ? 'was' : 'were'} left out`);
  if (newer > 0) say(`${countOf(newer, 'line')} of a newer version, not understood`);
  if (damage !== null) say(`damaged: what comes after is not read (${damage})`);
  if (end === null && !cutShort && damage === null)
    say('was not closed (killed, the disk was full, or it goes on): this is what it says until then');
}

/** The same process in two recordings of one time: nobody can tell which sockets are in both. */
function tellOverlaps(loaded: readonly Named[]): void {
  loaded.forEach((a, i) => {
    for (const b of loaded.slice(i + 1)) {
      if (!isOverlapping(a.report, b.report)) continue;
      process.stderr.write(
        `socktrace: ${escapeText(`${a.name} and ${b.name} watched the same process at the same time`)}: its sockets are in both, and counted twice\n`,
      );
    }
  });
}

function isOverlapping(a: Report, b: Report): boolean {
  const sameTime = a.window.startedAt < b.window.endedAt && b.window.startedAt < a.window.endedAt;
  return sameTime && a.target.processes.some((process) => b.target.processes.includes(process));
}

function diffed(before: Named, after: Named, format: Format, options: ReportOptions): ExitCode {
  const diff = diffReports(before.report, after.report);
  for (const { what } of diff.notes) process.stderr.write(`socktrace: ${escapeText(what)}\n`);
  const document =
    format === 'json' ? renderJson(diff) : renderDiff(diff, [after.report, before.report], styleOf(options.output));
  return finish(document, diff, options);
}

/** An output that could not be written is what the exit status says, whatever was in it. */
function finish(
  document: string | Uint8Array,
  concluded: Pick<Report | ReportDiff, 'verdict'>,
  options: ReportOptions,
): ExitCode {
  const code = writeOut(document, options);
  return code === ExitCode.done ? exitCodeOf(concluded, options.failOnLeak ?? false) : code;
}

function rendered(
  document: Report,
  loaded: readonly [Named, ...Named[]],
  format: Format,
  { weight, output, files }: ReportOptions & { files: readonly string[] },
): string | Uint8Array {
  switch (format) {
    case 'text':
      return renderText(document, styleOf(output), { files: files.map(shellWord) });
    case 'json':
      return renderJson(document);
    case 'html':
      return renderHtml(document, timelineOf(loaded));
    case 'folded':
      return renderFolded(document, weight);
    case 'pprof':
      return renderPprof(document);
    case 'speedscope':
      return renderSpeedscope(document);
  }
}

function timelineOf(loaded: readonly [Named, ...Named[]]): Timeline {
  const [first, ...others] = loaded.map(({ name, timeline }) => {
    if (timeline === null) throw new RecordingError(`${name} has no session that tells its time`);
    return timeline;
  });
  if (first === undefined) throw new RecordingError('no recording was given');
  if (others.length === 0) return first;
  return mergeTimelines(
    [first, ...others],
    loaded.map(({ name }) => name),
  );
}

/** A file is read by whoever: colours are for terminals. */
function styleOf(output: string | undefined): Style {
  return output === undefined ? styleFor(process.stdout) : PLAIN;
}

function writeOut(document: string | Uint8Array, { output, force }: ReportOptions): ExitCode {
  if (output === undefined) {
    process.stdout.write(document);
    return ExitCode.done;
  }
  const file = createFile(output, force ?? false);
  try {
    const bytes = typeof document === 'string' ? Buffer.from(document) : document;
    for (let offset = 0; offset < bytes.byteLength; ) offset += writeSync(file, bytes, offset);
    return ExitCode.done;
  } catch (error) {
    process.stderr.write(
      `socktrace: ${escapeText(output)} could not be written: ${error instanceof Error ? error.message : error}\n`,
    );
    return ExitCode.internalError;
  } finally {
    closeSync(file);
  }
}

/** What is wrong with a file that was named. */
function isRefusal(error: unknown): error is Error {
  return error instanceof RecordingError || error instanceof FileRefusedError || isSystemError(error);
}

/** A document that is longer than a text can be, or objects within objects without end. */
function isTooMuch(error: unknown): error is RangeError {
  return error instanceof RangeError && /string length|call stack/.test(error.message);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

/** Call paths as lines: where the program's own code opened a socket, who called that, and how it went otherwise. */
import type { CallFrame, PathId, PathQuality, PathRef } from '../../ledger/types.ts';
import { type FoldedPath, foldPath, isOfInterpreter, moduleName } from '../../report/fold.ts';
import { readName } from '../../report/frame-names.ts';
import type { Finding, PathTotals, Report, ReportCallPath } from '../../report/types.ts';
import { escapeText, escapeWithin } from '../escape.ts';
import { formatCount } from '../numbers.ts';

const LABEL_WIDTH = 'accepted at'.length;
/** of a line, without the indent that findings give it */
const WIDTH = 96;
const MOST_CALLERS = 12;
const MOST_NOTES = 3;
const LONGEST_NAME = 60;
const LONGEST_FILE = 60;
const LONGEST_NOTE = 200;
const BUILD_ID_DIGITS = 8;

export const DOUBTFUL_LEGEND = '? the caller was found by its frame pointer or by a guess, not by unwind tables';

const QUALITY: Readonly<Record<PathQuality, string | null>> = {
  complete: null,
  truncated: 'the stack is larger than what is copied of it: callers are missing at the end',
  unreliable: 'not reliable: callers may be missing, or wrong',
  unreadable: 'no caller could be found on the stack',
};

const NO_OWN_CODE = "no frame of the program's own was found: these are libraries and runtimes";

const WITHOUT_PATH: Readonly<Record<Exclude<PathRef['status'], 'resolved' | 'unavailable'>, string>> = {
  pending: 'not known yet: the stack is still being read',
  'not-sampled': 'not sampled: only so many stacks a second are copied, and the count is exact without them',
  preexisting: 'not known: it happened before the trace began',
};

interface ShownPath extends FoldedPath {
  path: ReportCallPath;
}

/** The call paths of one report. */
export class CallPathTexts {
  readonly #byId: ReadonlyMap<PathId, ReportCallPath>;
  readonly #captured: boolean;
  readonly #folded = new Map<PathId, ShownPath>();

  constructor({ callPaths }: Report) {
    this.#captured = callPaths.status === 'measured';
    this.#byId = new Map(callPaths.status === 'measured' ? callPaths.value.map((path) => [path.id, path]) : []);
  }

  /** `acquire_port (leak_worker.c:41)`: where the program's own code begins; null where that is not known. */
  placeOf(ref: PathRef | null): string | null {
    const shown = this.#find(ref);
    const [first] = shown?.frames ?? [];
    if (first === undefined || shown?.isOwnCode !== true) return null;
    const { name, file, line } = readName(first);
    if (name === null) return nameless(first, false);
    const where = file === null ? '' : ` (${shortFile(file)}${lineText(line)})`;
    return `${escapeWithin(name, LONGEST_NAME)}${where}${doubt(first)}`;
  }

  /** `opened at` or `accepted at`. */
  openLabel(ref: PathRef): 'opened at' | 'accepted at' {
    const counters = this.#find(ref)?.path.counters;
    return counters?.opened === 0 && counters.accepted > 0 ? 'accepted at' : 'opened at';
  }

  /** The paths of a finding, one or several lines each. None when call paths were not captured: that is said once. */
  linesOf({ openPath, bindPath, kind }: Pick<Finding, 'openPath' | 'bindPath' | 'kind'>): string[] {
    if (!this.#captured) return [];
    const bindLabel = kind === 'bind-failed' ? 'bind() at' : 'bound at';
    return [
      ...this.#lines(this.openLabel(openPath), openPath, openingTotals),
      ...(bindPath === null ? [] : this.#lines(bindLabel, bindPath, bindingTotals)),
    ];
  }

  /** Whether some frame that `linesOf` shows for these findings may be wrong. */
  hasDoubtful(findings: readonly Finding[]): boolean {
    return findings
      .flatMap(({ openPath, bindPath }) => [openPath, bindPath])
      .some((ref) => this.#find(ref)?.frames.some(isDoubtful) ?? false);
  }

  #find(ref: PathRef | null): ShownPath | null {
    if (ref?.status !== 'resolved') return null;
    const known = this.#folded.get(ref.id);
    if (known !== undefined) return known;
    const path = this.#byId.get(ref.id);
    if (path === undefined) return null;
    const shown = { ...foldPath(path.frames), path };
    this.#folded.set(ref.id, shown);
    return shown;
  }

  #lines(label: string, ref: PathRef, totals: (counters: PathTotals) => string[]): string[] {
    const shown = this.#find(ref);
    if (shown === null) return [labelled(label, withoutPath(ref))];
    const { path, frames, isOwnCode } = shown;
    const [first, ...callers] = frames;
    return [
      labelled(label, first === undefined ? 'no frame could be read' : firstFrame(first)),
      ...chain(isOwnCode ? callers.map(callerText) : withoutInterpreter(callers)),
      ...remarks(path, isOwnCode || first === undefined).map((text) => labelled('', text)),
      ...(path.counters === null ? [] : [labelled('', `this path ${totals(path.counters).join(', ')}`)]),
    ];
  }
}

/** Why there are no frames to show. */
export function withoutPath(ref: PathRef): string {
  if (ref.status === 'unavailable') return `not known: ${escapeWithin(ref.reason, LONGEST_NOTE)}`;
  if (ref.status === 'resolved') return `call path ${escapeWithin(ref.id, LONGEST_NAME)}, whose frames are not known`;
  return WITHOUT_PATH[ref.status];
}

/** With its whole file, as this is the line to open. */
function firstFrame(frame: CallFrame): string {
  const { name, file, line } = readName(frame);
  if (name === null) return nameless(frame, true);
  const where = file === null ? moduleOf(frame) : `${fileEnd(file)}${lineText(line)}`;
  return `${escapeWithin(name, LONGEST_NAME)}${where === '' ? '' : `  ${where}`}${doubt(frame)}`;
}

/** `acquire_port leak_worker.c:41`: one frame, short. */
export function callerText(frame: CallFrame): string {
  const { name, file, line } = readName(frame);
  if (name === null) return nameless(frame, false);
  const where = file === null ? moduleOf(frame) : `${shortFile(file)}${lineText(line)}`;
  return `${escapeWithin(name, LONGEST_NAME)}${where === '' ? '' : ` ${where}`}${doubt(frame)}`;
}

/** Callers after each other, outermost last, broken into lines. */
function chain(callers: readonly string[]): string[] {
  const texts = withRepetitions(callers);
  const more = texts.length - MOST_CALLERS;
  const shown = more > 0 ? [...texts.slice(0, MOST_CALLERS), `${formatCount(more)} more: see --json`] : texts;
  const lines: string[] = [];
  for (const [i, text] of shown.entries()) {
    const link = i === 0 ? text : `< ${text}`;
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + link.length <= WIDTH) lines[lines.length - 1] = `${last} ${link}`;
    else lines.push(labelled(i === 0 ? 'from'.padStart(LABEL_WIDTH) : '', link));
  }
  return lines;
}

/** So many of them in a row say no more than one. */
const MANY_FRAMES = 3;

/** How an interpreter gets from one function of a script to the next is the same for every script. */
function withoutInterpreter(callers: readonly CallFrame[]): string[] {
  const texts: string[] = [];
  for (let i = 0; i < callers.length; ) {
    const end = callers.findIndex((frame, at) => at >= i && !isOfInterpreter(frame));
    const run = callers.slice(i, end < 0 ? undefined : end);
    const last = run.at(-1);
    if (last?.module != null && run.length >= MANY_FRAMES) {
      const name = escapeWithin(moduleName(last.module), LONGEST_NAME);
      texts.push(`${name} (${formatCount(run.length)} frames of the interpreter)`);
      i += run.length;
    } else {
      texts.push(...callers.slice(i, i + Math.max(1, run.length)).map(callerText));
      i += Math.max(1, run.length);
    }
  }
  return texts;
}

/** A recursion is one step that says how deep it was. */
function withRepetitions(texts: readonly string[]): string[] {
  const steps: { text: string; times: number }[] = [];
  for (const text of texts) {
    const last = steps.at(-1);
    if (last?.text === text) last.times += 1;
    else steps.push({ text, times: 1 });
  }
  return steps.map(({ text, times }) => (times === 1 ? text : `${text} (${formatCount(times)} times)`));
}

/** No advice that this Python cannot take: the names of its files tell its version. */
function forThisPython(note: string, { frames }: ReportCallPath): string {
  const minors = frames.flatMap(({ module }) => /\/(?:lib)?python3\.(\d{1,2})(?:\D|$)/.exec(module ?? '')?.[1] ?? []);
  const minor = minors.map(Number).find((number) => number < 12);
  return minor === undefined
    ? note
    : note.replace(
        'run it with -X perf (3.12 or newer)',
        `this is 3.${minor}, and -X perf came with 3.12: run with that, it would be told`,
      );
}

function remarks(path: ReportCallPath, isOwnCode: boolean): string[] {
  const { quality, notes } = path;
  const doubts = QUALITY[quality];
  return [
    ...(isOwnCode ? [] : [NO_OWN_CODE]),
    ...(doubts === null ? [] : [doubts]),
    ...notes.slice(0, MOST_NOTES).map((note) => escapeWithin(forThisPython(note, path), LONGEST_NOTE)),
  ];
}

function openingTotals(counters: PathTotals): string[] {
  const { opened, accepted, bound, bindFailed, connected, connectFailed, listened, closedUnused, held } = counters;
  return [
    ...(opened > 0 || accepted === 0 ? [`opened ${formatCount(opened)}`] : []),
    ...(accepted > 0 ? [`accepted ${formatCount(accepted)}`] : []),
    ...(accepted > 0 && opened === 0 ? [] : [`bound ${formatCount(bound)}`]),
    ...(bindFailed > 0 ? [`failed to bind ${formatCount(bindFailed)}`] : []),
    ...(accepted > 0 && opened === 0 ? [] : [`connected ${formatCount(connected)}`]),
    ...(connectFailed > 0 ? [`failed to connect ${formatCount(connectFailed)}`] : []),
    ...(listened > 0 ? [`listened ${formatCount(listened)}`] : []),
    ...(accepted > 0 && opened === 0 ? [] : [`closed ${formatCount(closedUnused)} unused`]),
    `holds ${formatCount(held)}`,
  ];
}

function bindingTotals({ bound, bindFailed, connected, listened }: PathTotals): string[] {
  return [
    `bound ${formatCount(bound)}`,
    ...(bindFailed > 0 ? [`failed to bind ${formatCount(bindFailed)}`] : []),
    ...(connected > 0 ? [`connected ${formatCount(connected)}`] : []),
    ...(listened > 0 ? [`listened ${formatCount(listened)}`] : []),
  ];
}

function labelled(label: string, text: string): string {
  return `${label.padEnd(LABEL_WIDTH)}  ${text}`;
}

/** `leaky-service+0x1a2b (build-id 1f2e3d4c)`, or an address where there is no file: never the name of a neighbour. */
function nameless(frame: CallFrame, withBuildId: boolean): string {
  const { module, offset, buildId } = frame;
  const joint = module?.startsWith('[') ? ' ' : '+';
  const where = module === null ? '' : `${escapeWithin(moduleName(module), LONGEST_NAME)}${joint}`;
  const id =
    withBuildId && buildId !== null
      ? ` (build-id ${escapeWithin(buildId.slice(0, BUILD_ID_DIGITS), 2 * BUILD_ID_DIGITS)})`
      : '';
  return `${where}${escapeWithin(offset, LONGEST_NAME)}${id}${doubt(frame)}`;
}

function moduleOf({ module }: CallFrame): string {
  return module === null || module.startsWith('[') ? '' : escapeWithin(moduleName(module), LONGEST_NAME);
}

function shortFile(file: string): string {
  return escapeWithin(file.replace(/^.*\//s, ''), LONGEST_NAME);
}

/** The end of a path is what tells files apart. */
function fileEnd(file: string): string {
  const end = [...file.slice(-2 * LONGEST_FILE)].slice(-LONGEST_FILE).join('');
  return escapeText(end.length < file.length ? `...${end}` : end);
}

function lineText(line: number | null): string {
  return line === null ? '' : `:${line}`;
}

function doubt(frame: CallFrame): string {
  return isDoubtful(frame) ? ' ?' : '';
}

function isDoubtful({ how }: CallFrame): boolean {
  return how === 'frame-pointer' || how === 'guess';
}

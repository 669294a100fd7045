/** A profile for pprof (https://github.com/google/pprof): sockets, ports and failed calls by call path. */
import { gzipSync } from 'node:zlib';
import {
  Label,
  Line,
  Location,
  Mapping,
  Function as PprofFunction,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format';
import type { CallFrame } from '../ledger/types.ts';
import { readName } from '../report/frame-names.ts';
import type { Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { frameName, STACK_VALUES, type Stack, type StackLabels, stacksOf } from './stacks.ts';

/**
 * Modules are laid out one after the other as if they were one program's: several programs are in a profile, and the
 * address of a frame is its offset into its file.
 */
const MODULE_BITS = 40n;
const NS_PER_MS = 1_000_000n;

/** The profile in gzip, as pprof wants it. */
export function renderPprof(report: Report): Uint8Array {
  const builder = new ProfileBuilder();
  const stacks = stacksOf(report);
  // The first mapping is the main one to pprof: a program, not the libc that is at the top of every stack.
  const programs = new Set(report.processes.flatMap(({ exe }) => (exe.status === 'measured' ? [exe.value] : [])));
  for (const { frames } of stacks) for (const frame of frames) if (programs.has(frame.module ?? '')) builder.map(frame);
  for (const stack of stacks) builder.add(stack);
  return gzipSync(builder.build(report).encode());
}

class ProfileBuilder {
  readonly #strings = new StringTable();
  readonly #samples: Sample[] = [];
  readonly #mappings = new Map<string, Mapping>();
  readonly #functions = new Map<string, PprofFunction>();
  readonly #locations = new Map<string, Location>();

  add(stack: Stack): void {
    this.#samples.push(
      new Sample({
        locationId: stack.unknown === null ? this.#locationsOf(stack.frames) : [this.#placeholder(stack.unknown)],
        value: STACK_VALUES.map((value) => stack.values[value]),
        label: this.#labels(stack.labels),
      }),
    );
  }

  build({ tool, host, window, verdict }: Report): Profile {
    const comments = [
      `${tool.name} ${tool.version}`,
      `host ${escapeText(host.hostname)}, Linux ${escapeText(host.kernel)}`,
      `verdict: ${verdict.is}`,
    ];
    return new Profile({
      sampleType: STACK_VALUES.map((value) => new ValueType({ type: this.#text(value), unit: this.#text('count') })),
      sample: this.#samples,
      mapping: [...this.#mappings.values()],
      location: [...this.#locations.values()],
      function: [...this.#functions.values()],
      timeNanos: BigInt(Math.round(Date.parse(window.startedAt))) * NS_PER_MS,
      durationNanos: BigInt(Math.round(window.durationMs)) * NS_PER_MS,
      comment: comments.map((text) => this.#text(text)),
      defaultSampleType: this.#text('sockets'),
      stringTable: this.#strings,
    });
  }

  /** Innermost first. A function that was inlined is a line of the location that it was inlined at. */
  #locationsOf(frames: readonly CallFrame[]): number[] {
    const ids: number[] = [];
    let lines: CallFrame[] = [];
    frames.forEach((frame, i) => {
      lines.push(frame);
      if (frame.how === 'inlined' && i < frames.length - 1) return;
      ids.push(this.#location(frame, lines));
      lines = [];
    });
    return ids;
  }

  #location(frame: CallFrame, lines: readonly CallFrame[]): number {
    const mapping = this.map(frame);
    const key = JSON.stringify([mapping.id, frame.offset, lines.map(({ function: name, line }) => [name, line])]);
    const known = this.#locations.get(key);
    if (known !== undefined) return Number(known.id);
    const named = lines.filter((line) => line.function !== null);
    const location = new Location({
      id: this.#locations.size + 1,
      mappingId: mapping.id,
      address: BigInt(mapping.memoryStart) + BigInt.asUintN(Number(MODULE_BITS), BigInt(frame.offset)),
      line: named.map((line) => new Line({ functionId: this.#function(line), line: readName(line).line ?? 0 })),
    });
    this.#locations.set(key, location);
    return Number(location.id);
  }

  #placeholder(text: string): number {
    const key = `?${text}`;
    const known = this.#locations.get(key);
    if (known !== undefined) return Number(known.id);
    const functionId = this.#functionNamed(`[${escapeText(text)}]`, '', '');
    const location = new Location({ id: this.#locations.size + 1, line: [new Line({ functionId, line: 0 })] });
    this.#locations.set(key, location);
    return Number(location.id);
  }

  /** The mapping of a frame's module. */
  map({ module, buildId }: CallFrame): Mapping {
    const key = JSON.stringify([module, buildId]);
    const known = this.#mappings.get(key);
    if (known !== undefined) return known;
    const id = this.#mappings.size + 1;
    const memoryStart = BigInt(id) << MODULE_BITS;
    const mapping = new Mapping({
      id,
      memoryStart,
      memoryLimit: memoryStart + (1n << MODULE_BITS),
      filename: this.#text(escapeText(module ?? 'unknown')),
      buildId: this.#text(escapeText(buildId ?? '')),
      // There is nothing left for pprof to look up: it need not look for the files.
      hasFunctions: true,
      hasFilenames: true,
      hasLineNumbers: true,
      hasInlineFrames: true,
    });
    this.#mappings.set(key, mapping);
    return mapping;
  }

  #function(frame: CallFrame): number {
    return this.#functionNamed(frameName(frame), escapeText(frame.function ?? ''), readName(frame).file ?? '');
  }

  #functionNamed(name: string, systemName: string, file: string): number {
    const key = JSON.stringify([name, systemName, file]);
    const known = this.#functions.get(key);
    if (known !== undefined) return Number(known.id);
    const made = new PprofFunction({
      id: this.#functions.size + 1,
      name: this.#text(name),
      systemName: this.#text(systemName),
      filename: this.#text(escapeText(file)),
    });
    this.#functions.set(key, made);
    return Number(made.id);
  }

  #labels({ comm, pid, kind, errno, leak, source }: StackLabels): Label[] {
    const text = (key: string, value: string): Label =>
      new Label({ key: this.#text(key), str: this.#text(escapeText(value)) });
    return [
      text('kind', kind),
      ...(errno === null ? [] : [text('errno', errno)]),
      new Label({ key: this.#text('pid'), num: pid, numUnit: this.#text('id') }),
      text('comm', comm),
      text('leak', String(leak)),
      ...(source === null ? [] : [text('source', source)]),
    ];
  }

  #text(text: string): number {
    return this.#strings.dedup(text);
  }
}

import { chmodSync, closeSync, linkSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput, SocketFacts } from '../../src/ledger/types.ts';
import { Compactor, Expander } from '../../src/recording/compact.ts';
import { createFile, FileRefusedError } from '../../src/recording/file.ts';
import { type HoldersLine, RecordingError } from '../../src/recording/format.ts';
import { parseLine } from '../../src/recording/line.ts';
import { loadRecording, spanOf } from '../../src/recording/load.ts';
import { replay } from '../../src/recording/replay.ts';
import { RecordingWriter } from '../../src/recording/writer.ts';
import { renderJson } from '../../src/render/json.ts';
import { renderText } from '../../src/render/text.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Report } from '../../src/report/types.ts';
import { ended, failure, hostSample, OWNER, process, row, session, socket, tick, unavailable, walk } from './facts.ts';
import { directory, HEADER, newPath, WHOLE } from './recordings.ts';
import { incidentWithPaths, reportOf } from './sample-report.ts';

const UNLIMITED = { pack: false, mostBytes: Number.POSITIVE_INFINITY };

async function record(inputs: readonly LedgerInput[], suffix = '.ndjson'): Promise<string> {
  const path = newPath(suffix);
  const writer = new RecordingWriter({ ...UNLIMITED, pack: suffix.endsWith('.gz') });
  writer.open(path, false);
  for (const [i, input] of inputs.entries()) {
    writer.write(input);
    // Several members of gzip.
    if (i % 50 === 0) await writer.flush();
  }
  await writer.close('the test is over');
  expect(writer.failure).toBeNull();
  return path;
}

async function load(path: string): Promise<Report> {
  return (await loadRecording(path, WHOLE)).report;
}

/** A session in which everything that is written as a change does change. */
function busySession(): LedgerInput[] {
  const sockets = Array.from({ length: 60 }, (_, i) =>
    socket(i, 1_000 + i, { owner: { status: 'measured', value: OWNER } }),
  );
  const exited = socket(900, 2_000, { released: true, releaseState: 'CLOSE', heldAtExit: true });
  const inputs: LedgerInput[] = [...incidentWithPaths(), { type: 'loss', losses: [] }];
  for (let turn = 0; turn < 8; turn++) {
    const atMs = 81_000 + turn * 1_000;
    const alive = sockets.slice(turn * 5);
    inputs.push(...alive.map((facts) => row({ ...facts, version: `${BigInt(facts.version) + BigInt(turn)}` })));
    const complete = turn % 4 !== 3;
    const gone = complete ? sockets.slice(0, turn * 5) : [];
    inputs.push(walk(atMs, alive, { complete, bytesMoved: String(turn), gone }));
    inputs.push(...sockets.slice(turn * 5, turn * 5 + 5).map((facts) => ended(facts, atMs)));
    inputs.push(process({}, { opened: 41 + turn, bound: 12 }), process({ comm: `leakyd-${turn >> 1}` }));
    inputs.push({ type: 'loss', losses: turn < 3 ? [] : [{ code: 'event-ring-full', count: turn }] });
    inputs.push(hostSample(atMs, 1_900 + turn, { opened: 60 + turn }, { opened: 45 + turn }), tick(atMs));
  }
  return [
    ...inputs,
    ended(exited, 90_000),
    { type: 'census', atMs: 90_000, seen: unavailable('refused') },
    tick(90_500),
  ];
}

describe('what was recorded is replayed', () => {
  it.each(['.ndjson', '.ndjson.gz'])('%s: the report is the same, byte for byte', async (suffix) => {
    const inputs = busySession();
    const path = await record(inputs, suffix);
    const { report, replayed } = await loadRecording(path, WHOLE);
    expect(renderJson(report)).toBe(renderJson(reportOf(inputs)));
    expect(replayed).toMatchObject({ torn: 0, damage: null, end: { because: 'the test is over' } });
    expect(report.loss.reasons.map(({ code }) => code)).toEqual(['event-ring-full']);
  });

  it('at every tick on the way', () => {
    const inputs = busySession();
    const [live, replayed] = [new Ledger(), new Ledger()];
    const [compactor, expander] = [new Compactor(), new Expander()];
    for (const input of inputs) {
      live.apply(input);
      for (const line of compactor.linesOf(input)) {
        const parsed = parseLine(JSON.stringify(line));
        if (parsed === null || parsed.type === 'recording' || parsed.type === 'end')
          throw new Error(`not a line: ${JSON.stringify(line)}`);
        const again = expander.expand(parsed);
        if (again !== null && again !== undefined) replayed.apply(again);
      }
      if (input.type === 'tick') expect(buildReport(replayed)).toEqual(buildReport(live));
    }
  });

  it('a long walk is several lines, which are one again', () => {
    const sockets = Array.from({ length: 5_000 }, (_, i) => socket(i, 1_000));
    const gone = Array.from({ length: 15_000 }, (_, i) => socket(10_000 + i, 1_000));
    const compactor = new Compactor();
    const input = walk(2_000, sockets, { gone });
    const lines = compactor.linesOf(input);
    expect(lines.length).toBeGreaterThan(2);
    const expander = new Expander();
    const again = lines.map((line) => expander.expand(line as HoldersLine));
    expect(again.slice(0, -1).every((one) => one === null)).toBe(true);
    const last = again.at(-1);
    if (last?.type !== 'holders') throw new Error('not a walk');
    expect({ ...last, gone: last.gone.toSorted() }).toEqual({ ...input, gone: gone.map(({ id }) => id).toSorted() });
    expect(compactor.linesOf(walk(4_000, []))).toMatchObject([{ sockets: [], gone: [], walk: 2, more: false }]);
  });

  it('what a walk that was not whole did not show is gone when a whole one does not show it either', () => {
    const [kept, lost] = [socket(1, 1_000), socket(2, 1_000)];
    const expander = new Expander();
    const line = (number: number, complete: boolean, sockets: SocketFacts[], gone: SocketFacts[]): HoldersLine => {
      const { type, ...held } = walk(2_000 * number, sockets, { complete, gone }) as Extract<
        LedgerInput,
        { type: 'holders' }
      >;
      return { type, ...held, walk: number, more: false };
    };
    expander.expand(line(1, true, [kept, lost], []));
    expect(expander.expand(line(2, false, [], [kept, lost]))).toMatchObject({ complete: false, gone: [] });
    expect(expander.expand(line(3, true, [kept], []))).toMatchObject({ complete: true, gone: [lost.id] });
    expect(expander.expand(line(4, true, [], []))).toMatchObject({ gone: [] });
  });

  it('a walk with a gap before it is no whole walk: no socket is called released for it', () => {
    const sockets = [socket(1, 1_000), socket(2, 1_000)];
    const compactor = new Compactor();
    const expander = new Expander();
    compactor.linesOf(walk(2_000, sockets));
    const [line] = compactor.linesOf(walk(4_000, [], { gone: sockets }));
    if (line?.type !== 'holders') throw new Error('not a walk');
    expect(expander.expand(line)).toMatchObject({ complete: false, sockets: [], gone: [] });
  });

  it('a control character of a traced process does not reach a terminal that shows the file', async () => {
    const path = await record([session(), process({ comm: 'a\u001b[2J\u0085\u202eb' }), tick(1_000)]);
    const text = readFileSync(path, 'utf8');
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u.exec(text.replaceAll('\n', ''))?.[0] ?? 'nothing');
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });
});

describe('a recording that breaks off', () => {
  /** A ledger that is told a file line by line, with and without one line that was torn. */
  class Expected {
    readonly #ledgers = [new Ledger(), new Ledger()] as const;
    readonly #expander = new Expander();

    constructor() {
      this.#ledgers[1].apply({ type: 'loss', losses: [{ code: 'recording-torn', count: 1 }] });
    }

    tell(text: string): void {
      const line = parseLine(text);
      if (line === null) throw new Error(`not a line: ${text}`);
      if (line.type === 'recording' || line.type === 'end') return;
      const input = this.#expander.expand(line);
      if (input !== null && input !== undefined) for (const ledger of this.#ledgers) ledger.apply(input);
    }

    report(torn: boolean): string {
      return renderJson(buildReport(this.#ledgers[torn ? 1 : 0]));
    }
  }

  it('at any byte of its last 64 KB: reports every complete line, and says what was torn', {
    timeout: 300_000,
  }, async () => {
    const whole = readFileSync(await record(busySession()));
    expect(whole.length).toBeGreaterThan(80_000);
    const path = newPath();
    const reportOfCut = async (size: number): Promise<string> => {
      writeFileSync(path, whole.subarray(0, size));
      return renderJson(await load(path));
    };
    const expected = new Expected();
    let start = 0;
    for (const text of whole.toString('utf8').trimEnd().split('\n')) {
      const bytes = Buffer.from(text);
      const end = start + bytes.length;
      if (end > whole.length - 65_536) {
        // No beginning of a line is a line, so whichever byte of it was the last, the same lines are left: one is tried.
        for (let size = 1; size < bytes.length; size++)
          expect(parseLine(bytes.subarray(0, size).toString('utf8'))).toBeNull();
        expect(await reportOfCut(start)).toBe(expected.report(false));
        expect(await reportOfCut(start + 1 + (start % (bytes.length - 1)))).toBe(expected.report(true));
        expected.tell(text);
        // Only the newline is missing: the line is whole.
        expect(await reportOfCut(end)).toBe(expected.report(false));
      } else expected.tell(text);
      start = end + 1;
    }
  });

  it('within a member of gzip: every line that can be unpacked is used', async () => {
    const path = await record(busySession(), '.ndjson.gz');
    const whole = readFileSync(path);
    const all = gunzipSync(whole).toString('utf8').split('\n').length;
    const cut = newPath('.gz');
    let most = 0;
    for (let size = 400; size < whole.length; size += 53) {
      writeFileSync(cut, whole.subarray(0, size));
      const { replayed } = await loadRecording(cut, WHOLE);
      expect(replayed.lines).toBeGreaterThanOrEqual(most);
      // What checks the last member is behind it.
      if (size < whole.length - 8) expect(replayed.end).toBeNull();
      most = replayed.lines;
    }
    expect(most).toBeGreaterThan(all / 2);
  });

  it('damaged in the middle of a gzip: what comes before is reported, and the damage said', async () => {
    const path = await record(busySession(), '.ndjson.gz');
    const bytes = readFileSync(path);
    bytes.fill(0x55, bytes.length - 900, bytes.length - 700);
    writeFileSync(path, bytes);
    const { replayed, report } = await loadRecording(path, WHOLE);
    expect(replayed).toMatchObject({ end: null });
    expect(replayed.damage).not.toBeNull();
    expect(report.window.durationMs).toBeGreaterThan(0);
  });

  it('with a line missing in the middle: the end tells', async () => {
    const path = await record(busySession());
    const lines = readFileSync(path, 'utf8').split('\n');
    lines.splice(40, 2);
    writeFileSync(path, lines.join('\n'));
    expect((await loadRecording(path, WHOLE)).replayed.torn).toBe(2);
  });
});

describe('hostile lines', () => {
  const lines = (): string[] => {
    const compactor = new Compactor();
    return busySession().flatMap((input) => compactor.linesOf(input).map((line) => JSON.stringify(line)));
  };

  /** Writes a header, a session, `middle`, and a tick. */
  async function with_(middle: readonly string[]): Promise<Report> {
    const path = newPath();
    writeFileSync(path, `${[HEADER, JSON.stringify(session()), ...middle, JSON.stringify(tick(99_000))].join('\n')}\n`);
    return load(path);
  }

  it('of any text and any JSON are counted, and nothing else', async () => {
    const line = fc.oneof(
      fc.json().filter((text) => !text.includes('\n')),
      fc.string().map((text) => text.replaceAll(/[\n]/g, '')),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), async (middle) => {
        const report = await with_(middle);
        const torn = report.loss.reasons.find(({ code }) => code === 'recording-torn')?.count ?? 0;
        expect(torn).toBe(middle.length);
      }),
      { numRuns: 200 },
    );
  });

  it('made from good ones by changing any value never crash, and reports stay reports', async () => {
    const good = lines();
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 1e308, '', '__proto__', '9'.repeat(400), [], {}, null));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), fc.nat(), value), { maxLength: 30 }), async (changes) => {
        const middle = changes.map(([i, at, changed]) => changeOne(good[i % good.length] as string, at, changed));
        const report = await with_(middle);
        expect(JSON.parse(renderJson(report))).toEqual(report);
      }),
      { numRuns: 300 },
    );
  });

  it('of endless length are left out in bounded memory', async () => {
    const report = await with_([`"${'x'.repeat(40 << 20)}"`, JSON.stringify(tick(5_000))]);
    expect(report.loss.reasons).toMatchObject([{ code: 'recording-torn', count: 1 }]);
  });

  it('of a type that a later version has added are told as such, and their like is no verdict', async () => {
    const newer = JSON.stringify({ type: 'weather', atMs: 5_000 });
    const added = JSON.stringify({ ...tick(5_000), since: 'a later version' });
    const torn = [newer.slice(0, -1), JSON.stringify({ type: 'tick', atMs: 'noon' }), JSON.stringify({ type: 7 })];
    const lines = [HEADER, JSON.stringify(session()), newer, added, ...torn, newer, JSON.stringify(tick(99_000))];
    const path = newPath();
    writeFileSync(path, [...lines, JSON.stringify({ type: 'end', because: 'over', lines: lines.length })].join('\n'));
    const { report, replayed } = await loadRecording(path, WHOLE);
    expect(replayed).toMatchObject({ newer: 2, torn: 3 });
    expect(report.loss.reasons).toMatchObject([
      { code: 'recording-torn', count: 3 },
      { code: 'recording-newer', count: 2 },
    ]);
    expect(renderText(report)).toContain('2 lines of a newer version, not understood');
    const understood = lines.filter((line) => !torn.includes(line));
    writeFileSync(path, understood.join('\n'));
    expect((await load(path)).verdict).toEqual((await with_([])).verdict);
  });

  it('a second session, and lines before the session or after the end, are not taken', async () => {
    const report = await with_([
      JSON.stringify(session({ tool: { name: 'other', version: '9' } })),
      JSON.stringify({ type: 'end', because: 'over', lines: 2 }),
    ]);
    expect(report.tool.name).toBe('socktrace');
    expect(report.loss.reasons).toMatchObject([{ code: 'recording-torn', count: 2 }]);
  });

  it.each([
    ['', /is empty/],
    ['hello\n', /is no recording/],
    ['{"type":"session"}\n', /is no recording/],
    ['{"type":"recording","ver', /ends within its first line/],
    ['{"type":"recording","version":7,"tool":{"name":"socktrace","version":"9.1.0"}}\n', /format 7.*reads format 1/],
    [
      '{"type":"recording","version":1,"tool":{"name":"socktrace","version":"9.1.0"}}\n',
      /before anything was recorded/,
    ],
  ])('%j is refused in words', async (text, why) => {
    const path = newPath();
    writeFileSync(path, text);
    await expect(load(path)).rejects.toThrow(why);
    await expect(load(path)).rejects.toBeInstanceOf(RecordingError);
  });
});

/** Replaces the `at`th value of a JSON text, counted through all of its objects and lists. */
function changeOne(text: string, at: number, changed: unknown): string {
  let count = 0;
  JSON.parse(text, (_, value) => {
    count += 1;
    return value;
  });
  let n = 0;
  const parsed = JSON.parse(text, (_, value) => {
    n += 1;
    return n - 1 === at % count ? changed : value;
  });
  return JSON.stringify(parsed) ?? 'null';
}

describe('a part of a recording', () => {
  const startMs = Date.UTC(2026, 10, 23, 3);

  it('until a time is the report of that time', async () => {
    const inputs = incidentWithPaths();
    const path = await record(inputs);
    const { report, replayed } = await loadRecording(path, { part: { sinceMs: null, untilMs: startMs + 40_000 } });
    const last = inputs.findLastIndex((input) => input.type === 'tick' && input.atMs <= 40_000);
    expect(report).toEqual(reportOf(inputs.slice(0, last + 1)));
    expect(replayed.cutShort).toBe(true);
  });

  it('since a time knows of no failed calls where calls were not seen', async () => {
    const refused = { status: 'unavailable', reason: 'refused' } as const;
    const late = failure({ count: 2 });
    const inputs = [session({ failedCalls: refused }), hostSample(0, 0), tick(1_000), late, tick(2_000), tick(3_000)];
    const path = await record(inputs);
    const wallMs = Date.UTC(2026, 10, 23, 3, 0, 0);
    const since = async (sinceMs: number) => {
      const { report } = await loadRecording(path, { part: { sinceMs: wallMs + sinceMs, untilMs: null } });
      return report.failures;
    };
    expect(await since(1_500)).toMatchObject({ status: 'measured', value: [{ count: 2 }] });
    expect(await since(2_500)).toEqual(refused);
  });

  it('since a time has the counts since then, and the suspects there are', async () => {
    const path = await record(busySession());
    const whole = await load(path);
    const { report } = await loadRecording(path, { part: { sinceMs: startMs + 84_000, untilMs: null } });
    expect(report.window.startedAt).toBe('2026-11-23T03:01:24.000Z');
    expect(report.window.endedAt).toBe(whole.window.endedAt);
    expect(report.findings.map(({ key, count }) => [key, count])).toEqual(
      whole.findings.map(({ key, count }) => [key, count]),
    );
    // From 48 to 52.
    expect(report.sockets.opened).toBe(4);
    expect(report.failures).toEqual({ status: 'measured', value: [] });
  });

  it('that is not in it is an error', async () => {
    const path = await record(incidentWithPaths());
    await expect(loadRecording(path, { part: { sinceMs: startMs + 9e6, untilMs: null } })).rejects.toThrow(
      /ends before/,
    );
    await expect(loadRecording(path, { part: { sinceMs: null, untilMs: startMs - 1 } })).rejects.toThrow(
      /begins after/,
    );
  });

  describe('of a session whose tables are read at different times', () => {
    const CHILD = OWNER.replace(':1234:', ':1235:');
    const startOf = (report: Report): number => Date.parse(report.window.startedAt) - startMs;
    const endIn = (report: Report): number => Date.parse(report.window.endedAt) - startMs;

    /** Opens of two processes from step to step; what is read in each. At the end everything is. */
    const steps = fc.array(
      fc.record({
        opens: fc.tuple(fc.nat(3), fc.nat(3)),
        closes: fc.nat(2),
        sweep: fc.boolean(),
        sample: fc.boolean(),
      }),
      { minLength: 4, maxLength: 25 },
    );

    function told(all: readonly { opens: [number, number]; closes: number; sweep: boolean; sample: boolean }[]) {
      const opened = [0, 0];
      let destroyed = 0;
      const sweep = (): LedgerInput[] => [
        process({}, { opened: opened[0] as number }),
        process({ id: CHILD, pid: 1235 }, { opened: opened[1] as number }),
      ];
      const sample = (atMs: number): LedgerInput => {
        const sum = (opened[0] as number) + (opened[1] as number);
        return hostSample(
          atMs,
          100 + sum - destroyed,
          { opened: sum, destroyed },
          { opened: sum, destroyed, preexisting: 3 },
        );
      };
      const census = (atMs: number): LedgerInput => ({ type: 'census', atMs, seen: unavailable('refused') });
      const inputs = [
        session({ target: { pids: [1234], processes: [OWNER, CHILD], follow: true } }),
        ...sweep(),
        sample(0),
        census(5),
        tick(10),
      ];
      for (const [i, { opens, closes, ...due }] of all.entries()) {
        const atMs = 1_000 + i * 1_000;
        for (const [who, count] of opens.entries()) opened[who] = (opened[who] as number) + count;
        destroyed += closes;
        if (due.sweep) inputs.push(...sweep());
        if (due.sample) inputs.push(sample(atMs - 10));
        inputs.push(tick(atMs));
      }
      const endMs = 1_000 * (all.length + 1);
      return [...inputs, sample(endMs - 9), ...sweep(), census(endMs - 5), tick(endMs)];
    }

    function expectConsistent({ sockets, processes, sockstat }: Report): void {
      const { preexisting, opened, accepted, arrived, destroyed, held, apart } = sockets;
      const numbers = [preexisting, opened, accepted, arrived, destroyed].map(Number);
      const [a = 0, b = 0, c = 0, d = 0, e = 0] = numbers;
      expect(held).toBe(a + b + c + d - e);
      const byProcesses = processes.reduce(
        (sum, { activity }) => sum + (activity.status === 'measured' ? activity.value.opened : 0),
        0,
      );
      if (byProcesses !== opened) expect(apart).toBeDefined();
      if (sockstat.status === 'measured' && sockstat.value.moved.status === 'measured')
        expect(sockstat.value.moved.value.unexplained).toBe(0);
    }

    it('until any time adds up, or says why not', async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.integer({ min: 10, max: 30_000 }), async (all, untilMs) => {
          const inputs = told(all);
          const path = await record(inputs);
          const { report } = await loadRecording(path, { part: { sinceMs: null, untilMs: startMs + untilMs } });
          const last = inputs.findLastIndex((input) => input.type === 'tick' && input.atMs <= untilMs);
          expect(report).toEqual(reportOf(inputs.slice(0, last + 1)));
          expect(endIn(report)).toBeLessThanOrEqual(untilMs);
          expectConsistent(report);
          const isEnd = last === inputs.length - 1;
          const sampled = inputs.slice(0, last).filter(({ type }) => type === 'hostSample').length > 1;
          expect(report.lookedAt).toBe(isEnd || !sampled ? undefined : new Date(startMs + 5).toISOString());
          if (isEnd) expect(report.sockets.apart).toBeUndefined();
          else if (report.sockets.apart !== undefined) expect(renderText(report)).toContain(report.sockets.apart);
        }),
        { numRuns: 150 },
      );
    });

    it('between any two times too, and the parts of a whole are the whole', async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.integer({ min: 0, max: 4_000 }), async (all, sinceMs) => {
          const path = await record(told(all));
          const whole = await load(path);
          const part = { sinceMs: startMs + sinceMs, untilMs: null };
          const late = (await loadRecording(path, { part })).report;
          expectConsistent(late);
          expect(startOf(late)).toBeLessThanOrEqual(sinceMs);
          if (sinceMs < 10) {
            expect(late).toEqual(whole);
            return;
          }
          const early = (await loadRecording(path, { part: { sinceMs: null, untilMs: part.sinceMs } })).report;
          expect(early.window.endedAt).toBe(late.window.startedAt);
          expect(late.sockets.preexisting).toBe(early.sockets.held);
          expect(Number(early.sockets.opened) + Number(late.sockets.opened)).toBe(whole.sockets.opened);
        }),
        { numRuns: 150 },
      );
    });
  });

  it('goes from its session to its last tick', async () => {
    expect(await spanOf(await record(incidentWithPaths(), '.ndjson.gz'))).toEqual({ startMs, endMs: startMs + 80_000 });
  });
});

describe('the file', () => {
  it('is new, and for its owner only', () => {
    const path = newPath();
    closeSync(createFile(path, false));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is not made where there is one, unless it is to be replaced; then nobody else has it', () => {
    const path = newPath();
    writeFileSync(path, 'mine');
    chmodSync(path, 0o666);
    const other = newPath();
    linkSync(path, other);
    expect(() => createFile(path, false)).toThrow(FileRefusedError);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    closeSync(createFile(path, true));
    expect(readFileSync(path, 'utf8')).toBe('');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(other, 'utf8')).toBe('mine');
  });

  it.each([false, true])('is not made through a symbolic link, replaced or not (%s)', (replace) => {
    const [path, link] = [newPath(), newPath()];
    writeFileSync(path, 'mine');
    symlinkSync(path, link);
    expect(() => createFile(link, replace)).toThrow(/symbolic link/);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  it('is not made of a directory or a device', () => {
    expect(() => createFile(directory, true)).toThrow(/no file/);
    expect(() => createFile('/dev/null', true)).toThrow(/no file/);
    expect(() => createFile(join(directory, 'none', 'x'), true)).toThrow(/cannot be written/);
  });

  it('is written while the recording goes on, without being asked', async () => {
    const writer = new RecordingWriter(UNLIMITED);
    const path = newPath();
    writer.open(path, false);
    writer.write(session());
    expect(writer.waiting).toBeGreaterThan(500);
    await vi.waitUntil(() => readFileSync(path, 'utf8').split('\n').length === 3, { timeout: 30_000 });
    expect(writer.waiting).toBe(0);
    writer.write(tick(1_000));
    await vi.waitUntil(() => readFileSync(path, 'utf8').includes('"tick"'), { timeout: 30_000 });
    await writer.close('the test is over');
  });

  it('is full when it has its greatest size', async () => {
    const writer = new RecordingWriter({ pack: false, mostBytes: 20_000 });
    const path = newPath();
    writer.open(path, false);
    let facts: SocketFacts | null = null;
    for (let i = 0; !writer.isFull; i++) {
      facts = socket(i, 1_000);
      writer.write(row(facts));
      expect(i).toBeLessThan(100);
    }
    expect(facts).not.toBeNull();
    await writer.close('full');
    expect(statSync(path).size).toBe(writer.bytes);
    expect(writer.bytes).toBeGreaterThanOrEqual(20_000);
    expect(writer.bytes).toBeLessThan(21_500);
  });

  it('is a stream of whole members when packed', async () => {
    const path = await record(busySession(), '.ndjson.gz');
    const bytes = readFileSync(path);
    const members = bytes.toString('latin1').split('\x1f\x8b\x08').length - 1;
    expect(members).toBeGreaterThan(3);
    expect(gzipSync(gunzipSync(bytes)).length).toBeLessThan(bytes.length);
  });

  it('says how far it is read', async () => {
    const path = await record(busySession());
    const seen: number[] = [];
    await replay(path, () => {}, { progress: (bytes) => seen.push(bytes) });
    expect(seen.at(-1)).toBe(statSync(path).size);
  });
});

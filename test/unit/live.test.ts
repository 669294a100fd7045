import fc from 'fast-check';
import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { fitOwner, fitPlace } from '../../src/render/live/fit.ts';
import { frameOf, type Size } from '../../src/render/live/frame.ts';
import { ASCII_BLOCKS, BLOCKS, History } from '../../src/render/live/history.ts';
import {
  LiveReport,
  type PortlessCalls,
  portlessCalls,
  portlessCallsSince,
} from '../../src/render/live/live-report.ts';
import { rowsOf } from '../../src/render/live/rows.ts';
import { FIRST_STATE, type Key, type LiveState, press, SORTS } from '../../src/render/live/state.ts';
import { cut, cutStart, toWidth, widthOf, wrap } from '../../src/render/live/width.ts';
import { FindingNews } from '../../src/render/news.ts';
import { ANSI, PLAIN } from '../../src/render/style.ts';
import type { Report, ReportPorts } from '../../src/report/types.ts';
import {
  frame as callFrame,
  failure,
  history,
  hostSample,
  measured,
  path,
  process,
  resolved,
  row,
  session,
  socket,
  tick,
  walk,
} from './facts.ts';
import { incidentInputs, incidentWithPaths, reportOf } from './sample-report.ts';

const TERMINAL_OBEYS = /\p{Cc}|\p{Cf}|\p{Cs}/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
const COLOURS = /\x1b\[\d+m/g;
const NARROWEST: Size = { columns: 40, rows: 10 };
const USUAL: Size = { columns: 80, rows: 24 };
const LARGE: Size = { columns: 200, rows: 50 };

/** Names of every sort that processes can have: wide, combining, controls, overrides, emoji, lone surrogates. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(
    '日本語'.repeat(10),
    `e${'\u0301'.repeat(60)}`,
    '\x1b[2J\x1b]0;pwned\x07',
    '\u202e\u200d',
    '👩‍👩‍👧‍👦'.repeat(9),
  ),
);

const key: fc.Arbitrary<Key> = fc.oneof(
  fc
    .constantFrom('up', 'down', 'pageup', 'pagedown', 'home', 'end', 'enter', 'escape', 'backspace')
    .map((is): Key => ({ is }) as Key),
  fc
    .constantFrom('s', 'S', '/', 'p', '?', 'j', 'k', ' ', 'x', '日', '\x1b', '\u202e')
    .map((text): Key => ({ is: 'text', text })),
);

/** Eight findings of processes that are called so. */
function reportNamed(name: string): Report {
  const kinds = [
    {},
    { ever: history({ bound: true }), port: 50_000 },
    { bindErrno: 'EADDRINUSE' },
    { state: 'CLOSE_WAIT', ever: history({ established: true }), port: 443 },
  ] as const;
  const sockets = kinds.flatMap((kind, k) =>
    [0, 1].map((i) => socket(10 * k + i, 1_000, { ...kind, openPath: resolved(`open${i}`) })),
  );
  return reportOf([
    session({ callPaths: measured(true) }),
    process({ comm: name, exe: measured(name) }),
    path('open0', [callFrame(name, `${name}:1`), callFrame('main')]),
    path('open1', [callFrame('other'), callFrame(name)]),
    hostSample(0, 10),
    ...sockets.map(row),
    walk(5_000, sockets),
    hostSample(60_000, 18, { opened: 8 }, { opened: 8 }),
    tick(60_000),
  ]);
}

function rising(): History {
  const series = new History();
  for (let second = 0; second < 10; second++) series.add(second * 1_000, second);
  return series;
}

function frame(report: Report, state: LiveState, size: Size, style = PLAIN) {
  return frameOf(
    new LiveReport(report),
    state,
    { history: rising(), blocks: BLOCKS, lookedMs: 3_000, portlessSince: new Map(), note: null },
    size,
    style,
  );
}

/** Presses keys as the live view does: each refers to what the one before has left on the screen. */
function pressed(report: Report, keys: readonly Key[], size: Size, from: LiveState = FIRST_STATE): LiveState {
  return keys.reduce((state, key) => press(state, key, frame(report, state, size).shown), from);
}

function typing(text: string): Key[] {
  return [...text].map((character) => ({ is: 'text', text: character }));
}

const ENTER: Key = { is: 'enter' };
const ESCAPE: Key = { is: 'escape' };
const DOWN: Key = { is: 'down' };

describe('columns of a terminal', () => {
  it('are counted as it shows them', () => {
    expect(widthOf('日本')).toBe(4);
    expect(widthOf(BLOCKS)).toBe(stringWidth(BLOCKS));
    expect(cut('日本語', 5)).toBe('日本~');
    expect(cut('日本語', 4)).toBe('日~');
    expect(toWidth('ab', 4)).toBe('ab  ');
    expect(toWidth('ab', 4, 'right')).toBe('  ab');
    expect(toWidth('日本語', 4)).toBe('日~ ');
    expect(wrap(' 日', 2, ' ')).toEqual(['', ' ~']);
    expect(wrap('opened at    acquire_port  leak.c', 24, '  ')).toEqual(['opened at', '  acquire_port  leak.c']);
  });

  it('are never more than asked for, and wrapping loses nothing but spaces', () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 20 }), (text, width, indent) => {
        expect(stringWidth(cut(text, width))).toBeLessThanOrEqual(width);
        expect(stringWidth(toWidth(text, width))).toBeLessThanOrEqual(width);
        for (const line of wrap(text, width, ' '.repeat(indent))) expect(stringWidth(line)).toBeLessThanOrEqual(width);
      }),
    );
    fc.assert(
      fc.property(fc.lorem({ maxCount: 20 }), fc.integer({ min: 4, max: 30 }), (text, width) => {
        expect(wrap(text, width, '  ').join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
      }),
    );
  });
});

describe('what does not fit', () => {
  it('is cut where it tells least', () => {
    const owner = 'leaky-service[1234] +36';
    expect(fitOwner(owner, 30)).toBe(owner);
    expect(fitOwner(owner, 16)).toBe('leaky~[1234] +36');
    expect(fitOwner('odd[name][1234]', 12)).toBe('odd[n~[1234]');
    expect(fitOwner('日本語日本語[1234]', 11)).toBe('日本~[1234]');
    expect(fitOwner(owner, 9)).toBe('leaky-se~');
    expect(fitOwner('unknown process', 8)).toBe('unknown~');
    const place = 'reserve_data_port (leaky_service.c:135)';
    expect(fitPlace(place, 60)).toBe(place);
    expect(fitPlace(place, 30)).toBe('reserve~ (leaky_service.c:135)');
    expect(fitPlace(place, 28)).toBe('leaky_service.c:135');
    expect(fitPlace(place, 12)).toBe('~rvice.c:135');
    expect(fitPlace('std::vector<int (*)(char)>::f', 20)).toBe('std::vector<int (*)~');
    expect(cutStart('日本語', 5)).toBe('~本語');
    expect(cutStart('日本語', 4)).toBe('~語');
  });

  it('is never wider than its room', () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 0, max: 30 }), (text, width) => {
        for (const shown of [
          fitOwner(`${text}[12] +3`, width),
          fitPlace(`${text} (${text}:1)`, width),
          cutStart(text, width),
        ])
          expect(stringWidth(shown)).toBeLessThanOrEqual(width);
      }),
    );
  });
});

describe('a screen', () => {
  it('is never wider or higher than the terminal, and shows no name raw, whatever is pressed', () => {
    const size = fc.record({ columns: fc.integer({ min: 1, max: 220 }), rows: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(hostile, size, fc.array(key, { maxLength: 12 }), (name, terminal, keys) => {
        const report = reportNamed(name);
        const { lines } = frame(report, pressed(report, keys, terminal), terminal);
        expect(lines.length).toBeLessThanOrEqual(terminal.rows);
        for (const line of lines) {
          expect(stringWidth(line)).toBeLessThanOrEqual(terminal.columns);
          expect(line).not.toMatch(TERMINAL_OBEYS);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has its columns below each other, whatever stands in them', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        const { lines } = frame(reportNamed(name), FIRST_STATE, LARGE);
        const title = lines.find((line) => line.includes('OPENED BY')) ?? '';
        const at = title.indexOf('OPENED BY');
        const rows = lines.filter((line) => /^[ >](LEAK|suspect)/.test(line));
        expect(rows.length).toBeGreaterThan(0);
        for (const line of rows)
          expect(line.slice(0, at)).toMatch(/^.(LEAK {3}|suspect) +\d+ {2}[a-z-]+ +[-A-Z]+ .* {2}$/);
      }),
    );
  });

  it('shows what is traced, suspects, ports and accounts above the findings', () => {
    const { lines } = frame(reportOf(incidentInputs()), FIRST_STATE, USUAL);
    expect(lines[0]).toBe('pid 1234 and its children  1m 20s  no loss  hooks fentry');
    expect(lines[1]).toBe('suspects 41  LEAKS 2  ▁▂▃▃▄▅▆▆▇█');
    expect(lines[2]).toBe('ports not known: no census of the host was taken');
    expect(lines[3]).toBe('NO FREE PORT: 1 process fails for it: ftp[4321] 7 times');
    expect(lines[4]).toBe('preexisting 2 + opened 41 + accepted 0 - destroyed 0 = held 43');
    expect(lines[6]).toMatch(/^>LEAK +29 {2}bind-failed +EADDRINUSE +1m 7s +steady {2}leakyd\[1234\]/);
    expect(lines[7]).toMatch(/^ LEAK +12 {2}bound-inactive +- +1m 19s +steady {2}leakyd\[1234\]/);
    expect(lines).toHaveLength(24);
  });

  it('says of no port that it is free when calls have found none since', () => {
    const report = reportOf(incidentInputs());
    const ports: ReportPorts = {
      netns: 4026531840,
      path: '/proc/1234/ns/net',
      range: measured([50_000, 50_119]),
      inuse: measured(0),
      reserved: measured([]),
      inUse: 31,
      inRange: 31,
      outOfRange: 0,
      free: measured(89),
      holders: [],
      destinations: [],
      perMinute: measured(60),
      msToFull: measured(89_000),
    };
    const line = (portlessSince: PortlessCalls): string | undefined =>
      frameOf(
        new LiveReport({ ...report, ports: measured([ports]) }),
        FIRST_STATE,
        { history: rising(), blocks: BLOCKS, lookedMs: 3_000, portlessSince, note: null },
        USUAL,
        PLAIN,
      ).lines[2];
    expect(line(new Map())).toBe('ports 31 of 120 in 50000-50119  89 free  full in 1m 29s  +60/min  seen 3s ago');
    expect(line(new Map([[ports.netns, 7]]))).toBe(
      'ports 31 of 120 in 50000-50119  7 calls found none free since  +60/min',
    );
    // Of another namespace.
    expect(line(new Map([[7, 7]]))).toBe(line(new Map()));
  });

  it('counts calls that found no port where they found none, and not where that is not known', () => {
    const calls = (...more: LedgerInput[]) => portlessCalls(reportOf([...incidentInputs(), ...more]));
    const then = calls();
    expect(then).toEqual(new Map([[4026531840, 29 + 7]]));
    const strangers = [7, 0].map((netns) =>
      failure({ process: `b:${60 + netns}:1`, pid: 60 + netns, netns, count: 5 }),
    );
    expect(calls(...strangers)).toEqual(then);
    expect(portlessCallsSince(then, calls(...strangers, failure({ count: 9 })))).toEqual(new Map([[4026531840, 2]]));
  });

  it('names as victims those of the traced namespaces only', () => {
    const quick = (netns: number) => failure({ process: `b:${60 + netns}:1`, pid: 60 + netns, comm: 'quick', netns });
    const linesOf = (...more: LedgerInput[]) =>
      frame(reportOf([...incidentInputs(), ...more]), FIRST_STATE, LARGE).lines;
    expect(linesOf(quick(7), quick(0))[3]).toBe('NO FREE PORT: 1 process fails for it: ftp[4321] 7 times');
    const child = process({ id: 'b:9:1', pid: 9, comm: 'child', netns: measured(7) });
    const refused = failure({ process: 'b:9:1', pid: 9, comm: 'child', netns: 7, cause: 'refused' });
    expect(linesOf(quick(7), quick(0), child, refused)[3]).toBe(
      'NO FREE PORT in 2 netns: 2 processes fail for it: ftp[4321] 7 times, quick[67] once',
    );
    const without = [session(), process(), quick(7), tick(10_000)];
    expect(frame(reportOf(without), FIRST_STATE, USUAL).lines.join('\n')).not.toContain('NO FREE PORT');
  });

  it('says how long and what was lost behind however many processes', () => {
    const report = reportOf(incidentInputs());
    const pids = Array.from({ length: 40 }, (_, i) => 10_000 + i);
    const { lines } = frame({ ...report, target: { ...report.target, pids } }, FIRST_STATE, USUAL);
    expect(lines[0]).toMatch(/^pids 10000, 10001, .*~ {2}1m 20s {2}no loss {2}hooks fentry$/);
  });

  it('still says how many of which kind by whom on a narrow terminal', () => {
    const { lines } = frame(reportOf(incidentInputs()), FIRST_STATE, NARROWEST);
    expect(lines).toHaveLength(10);
    expect(lines[6]).toMatch(/^> {4}29 {2}bind-failed {5}leakyd\[1234\]/);
  });

  it('says how many ports the selected row has where there is no column for them', () => {
    const report = reportOf(incidentWithPaths());
    for (let columns = 80; columns <= 220; columns++) {
      const { lines } = frame(report, pressed(report, [DOWN], { columns, rows: 24 }), { columns, rows: 24 });
      const hasColumn = lines[5]?.includes('PORTS') ?? false;
      if (hasColumn) expect(lines[7]).toMatch(/bound-inactive +- +12 /);
      else expect(lines[22]).toMatch(/^> leakyd\[1234\], 12 ports, opened at /);
    }
    expect(frame(report, FIRST_STATE, USUAL).lines[5]).not.toContain('PORTS');
    expect(frame(report, FIRST_STATE, LARGE).lines[5]).toContain('PORTS');
  });

  it('cuts no key of the last line: what has no room is left out', () => {
    const report = reportOf(incidentInputs());
    const long = { ...FIRST_STATE, filter: 'a filter that is longer than the terminal is wide, by whoever typed it' };
    const keys = /^(\/[^ ].* \(0 of 2\)|\d\/\d|q leave|\? help|enter open|s sort: \w+( reversed)?|\/ filter|p pause)$/;
    for (let columns = 40; columns <= 120; columns++)
      for (const state of [FIRST_STATE, { ...FIRST_STATE, sort: 'growth', reversed: true } as const, long]) {
        const last = frame(report, state, { columns, rows: 24 }).lines.at(-1) ?? '';
        const shown = last.split(/ {2}/);
        for (const text of shown) expect(text, `${columns}: ${last}`).toMatch(keys);
        expect(shown).toContain('q leave');
        expect(shown).toContain('? help');
      }
  });

  it('has lines of its own for a note that would be cut', () => {
    const text =
      'socktrace-12345-20261130T120000Z.ndjson cannot be written: EACCES: permission denied, open it elsewhere';
    const header = {
      history: rising(),
      blocks: BLOCKS,
      lookedMs: 3_000,
      portlessSince: new Map(),
      note: { text, tone: 'yellow' } as const,
    };
    const { lines } = frameOf(new LiveReport(reportOf(incidentInputs())), FIRST_STATE, header, USUAL, PLAIN);
    expect(`${lines[0]} ${lines[1]}`).toBe(text);
    expect(lines[2]).toMatch(/^pid 1234 .* hooks fentry$/);
    const wide = frameOf(new LiveReport(reportOf(incidentInputs())), FIRST_STATE, header, LARGE, PLAIN);
    expect(wide.lines[0]).toMatch(/elsewhere {2}pid 1234 and its children .* hooks fentry$/);
  });

  it('says in which code on a wide one', () => {
    expect(frame(reportOf(incidentWithPaths()), FIRST_STATE, LARGE).lines[6]).toMatch(
      /EADDRINUSE .* leakyd\[1234\] +acquire_port \(leak_worker\.c:41\)/,
    );
  });

  it('shows code, errno and what it is sorted by before what matters less', () => {
    const report = reportOf(incidentWithPaths());
    for (let columns = 80; columns <= 220; columns++) {
      const { lines } = frame(report, FIRST_STATE, { columns, rows: 24 });
      expect(lines[6], `${columns}`).toMatch(
        columns < 90 ? /EADDRINUSE .*leakyd\[1234\] *$/ : /EADDRINUSE .*leakyd\[1234\] .*leak_worker\.c:41/,
      );
      expect(lines[22]).toBe('> leakyd[1234], opened at acquire_port (leak_worker.c:41)');
      for (const [sort, title] of [
        ['ports', 'PORTS'],
        ['age', 'OLDEST'],
        ['growth', 'GROWTH'],
      ] as const)
        expect(frame(report, { ...FIRST_STATE, sort }, { columns, rows: 24 }).lines[5], `${columns}`).toContain(title);
    }
    const withoutErrno = { ...report, findings: report.findings.filter(({ errno }) => errno === null) };
    expect(frame(withoutErrno, FIRST_STATE, USUAL).lines[5]).toMatch(/KIND +PORTS +OLDEST +GROWTH +OPENED BY/);
  });

  it('says below the table why there is no code', () => {
    const { lines } = frame(reportOf(incidentInputs()), FIRST_STATE, USUAL);
    expect(lines[22]).toBe('> leakyd[1234], code not known: this version does not capture call paths');
    const report = reportOf(incidentWithPaths());
    const findings = report.findings.map((finding) => ({ ...finding, openPath: { status: 'preexisting' } as const }));
    expect(frame({ ...report, findings }, FIRST_STATE, USUAL).lines[22]).toBe(
      '> leakyd[1234], code not known: it happened before the trace began',
    );
  });

  it('has what was lost on the page of the keys', () => {
    const report = reportOf(incidentInputs());
    const reasons = [{ code: 'socket-table-full', what: 'sockets that the full table refused', count: 1_234 }] as const;
    const lossy: Report = { ...report, loss: { complete: false, reasons: [...reasons] } };
    expect(frame(lossy, FIRST_STATE, USUAL).lines[0]).toContain('LOSS of 1 sort (press ?)');
    expect(frame(lossy, pressed(lossy, typing('?'), USUAL), USUAL).lines).toContain(
      'LOSS 1,234 sockets that the full table refused',
    );
  });

  it('has the same text with and without colours', () => {
    const report = reportOf(incidentInputs());
    const coloured = frame(report, FIRST_STATE, USUAL, ANSI).lines;
    expect(coloured.join('\n')).toContain('\x1b[31m');
    expect(coloured.map((line) => line.replace(COLOURS, ''))).toEqual(frame(report, FIRST_STATE, USUAL).lines);
  });

  it('says that there is nothing, and when nothing matches', () => {
    const empty = reportOf([session(), process(), hostSample(0, 1), tick(1_000)]);
    expect(frame(empty, FIRST_STATE, USUAL).lines).toContain('  no suspects yet');
    const report = reportOf(incidentInputs());
    const none = pressed(report, [...typing('/nobody'), ENTER], USUAL);
    expect(frame(report, none, USUAL).lines).toContain('  none of 2 findings matches');
  });
});

describe('keys', () => {
  const report = reportOf(incidentWithPaths());
  const countsOf = (of: Report, state: LiveState): number[] =>
    rowsOf(new LiveReport(of), state).map(({ finding }) => finding.count);

  it('select a finding, open it, and go back to it', () => {
    const open = pressed(report, [DOWN, ENTER], USUAL);
    const { lines } = frame(report, open, USUAL);
    expect(lines).toContain('12 sockets bound and never used');
    expect(lines).toContain('  opened at    acquire_port  /src/leak_worker.c:41');
    for (const title of ['CALL PATHS', 'SOCKETS']) expect(lines).toContain(title);
    const end = pressed(report, [{ is: 'end' }], USUAL, open);
    expect(frame(report, end, USUAL).lines).toContain('       12  leakyd[1234]');
    for (const back of [ESCAPE, { is: 'backspace' } as const])
      expect(frame(report, press(open, back, frame(report, open, USUAL).shown), USUAL).lines[7]).toMatch(/^>LEAK +12/);
  });

  it('keep the selection on its finding while others overtake it', () => {
    const selected = pressed(report, [DOWN], USUAL);
    const reversed = press(selected, { is: 'text', text: 'S' }, frame(report, selected, USUAL).shown);
    expect(frame(report, reversed, USUAL).lines[6]).toMatch(/^>LEAK +12/);
  });

  it('sort; until then rows keep their order, and new ones stand where they belong', () => {
    const [first] = report.findings;
    if (first === undefined) throw new Error('the sample has no finding');
    const withCounts = (counts: Readonly<Record<string, number>>): Report => ({
      ...report,
      findings: Object.entries(counts).map(([key, count]) => ({ ...first, key, count })),
    });
    const before = withCounts({ a: 30, b: 20, c: 10 });
    const held = { ...FIRST_STATE, order: frame(before, FIRST_STATE, USUAL).shown.rows };
    const after = withCounts({ a: 31, c: 90, d: 25, e: 5 });
    expect(countsOf(after, held)).toEqual([31, 90, 25, 5]);
    expect(countsOf(after, pressed(after, [DOWN, ENTER, ESCAPE], USUAL, held))).toEqual([31, 90, 25, 5]);
    expect(countsOf(after, pressed(after, typing('S'), USUAL, held))).toEqual([5, 25, 31, 90]);
    expect(countsOf(after, { ...held, order: null })).toEqual([90, 31, 25, 5]);
  });

  it('leave the selection on its line of the screen when rows are sorted', () => {
    const [first] = report.findings;
    if (first === undefined) throw new Error('the sample has no finding');
    const many: Report = {
      ...report,
      findings: Array.from({ length: 90 }, (_, i) => ({ ...first, key: `k${i}`, count: 1_000 - i })),
    };
    const lineOf = (state: LiveState): [number, string | undefined] => {
      const { lines } = frame(many, state, USUAL);
      const line = lines.findIndex((text) => text.startsWith('>LEAK'));
      return [line, lines[line]];
    };
    const middle = pressed(many, [{ is: 'pagedown' }, { is: 'pagedown' }, DOWN, DOWN, { is: 'pagedown' }], USUAL);
    const before = lineOf(middle);
    expect(before[0]).toBe(8);
    expect(lineOf(pressed(many, typing('S'), USUAL, middle))).toEqual(before);
    // Down to the last line, and one more: the rows move by one.
    const rows = frame(many, FIRST_STATE, USUAL).shown.height;
    const past = pressed(
      many,
      Array.from({ length: rows }, () => DOWN),
      USUAL,
    );
    expect(frame(many, past, USUAL).shown.first).toBe(1);
  });

  it('say so when an open finding is gone, and select what has taken its row', () => {
    const open = pressed(report, [DOWN, ENTER], USUAL);
    const healed = reportOf([session(), process(), hostSample(0, 1), tick(1_000)]);
    expect(frame(healed, open, USUAL).lines.join('\n')).toContain('this finding is gone');
    const [first] = report.findings;
    if (first === undefined) throw new Error('the sample has no finding');
    const one = { ...report, findings: [first] };
    expect(frame(one, pressed(report, [DOWN], USUAL), USUAL).lines[6]).toMatch(/^>LEAK +29/);
  });

  it('sort by each column, both ways', () => {
    let state = FIRST_STATE;
    // Each with a growth of its own, or there would be nothing to sort by.
    const findings = report.findings.map((finding, i) => ({ ...finding, perMinute: 28 - i }));
    const growing = { ...report, findings };
    for (const sort of [...SORTS.slice(1), 'count']) {
      state = pressed(growing, typing('s'), USUAL, state);
      expect(state.sort).toBe(sort);
      const other = pressed(growing, typing('S'), USUAL, state);
      expect(countsOf(growing, other)).toEqual(countsOf(growing, state).toReversed());
    }
    expect(countsOf(growing, { ...FIRST_STATE, sort: 'ports' })).toEqual([12, 29]);
    expect(countsOf(growing, { ...FIRST_STATE, sort: 'age' })).toEqual([12, 29]);
    expect(countsOf(growing, { ...FIRST_STATE, sort: 'growth' })).toEqual([29, 12]);
    expect(countsOf(growing, { ...FIRST_STATE, sort: 'kind' })).toEqual([29, 12]);
  });

  it('filter by kind, errno, process, code and whether it is a leak', () => {
    for (const [filter, expected] of [
      ['BOUND-IN', [12]],
      ['eaddrinuse', [29]],
      ['leakyd', [29, 12]],
      ['try_bind', [29, 12]],
      ['suspect', []],
      ['leak ', [29, 12]],
    ] as const)
      expect(countsOf(report, pressed(report, [...typing(`/${filter}`), ENTER], USUAL)), filter).toEqual(expected);
    const typed = pressed(report, [...typing('/boq'), { is: 'backspace' }], USUAL);
    expect(typed).toMatchObject({ filter: 'bo', typing: true, leaving: false });
    expect(frame(report, typed, USUAL).lines.at(-1)).toBe('/bo_');
    expect(press(typed, ESCAPE, frame(report, typed, USUAL).shown)).toMatchObject({ filter: '', typing: false });
  });

  it('pause, help and leave', () => {
    const paused = pressed(report, typing('p'), USUAL);
    expect(frame(report, paused, USUAL).lines[0]).toMatch(/^PAUSED /);
    expect(pressed(report, typing('p'), USUAL, paused).paused).toBe(false);
    expect(frame(report, pressed(report, typing('?'), USUAL), USUAL).lines.join('\n')).toContain(
      'stop tracing and print',
    );
    expect(pressed(report, typing('?q'), USUAL).leaving).toBe(true);
  });

  it('scroll by the screen and stop at the ends', () => {
    const many: Report = {
      ...report,
      findings: Array.from({ length: 100 }, (_, i) => ({ ...reportFinding(report), key: `k${i}`, count: 1_000 - i })),
    };
    const rows = frame(many, FIRST_STATE, USUAL).shown.height;
    const paged = pressed(many, [{ is: 'pagedown' }], USUAL);
    expect(paged.row).toBe(rows);
    expect(frame(many, paged, USUAL).lines[6]).toMatch(new RegExp(`^>LEAK +${1_000 - rows} `));
    expect(pressed(many, [{ is: 'end' }, DOWN], USUAL).row).toBe(99);
    expect(pressed(many, [{ is: 'end' }, { is: 'home' }, { is: 'up' }], USUAL).row).toBe(0);
  });
});

function reportFinding(report: Report): Report['findings'][number] {
  const [finding] = report.findings;
  if (finding === undefined) throw new Error('the sample has no finding');
  return finding;
}

describe('the sparkline', () => {
  it('shows the whole time in the room there is', () => {
    expect(rising().sparkline(10)).toBe('▁▂▃▃▄▅▆▆▇█');
    expect(rising().sparkline(5)).toBe('▂▃▅▆█');
    expect(rising().sparkline(5, ASCII_BLOCKS)).toBe('.-+*#');
    expect(rising().sparkline(0)).toBe('');
    expect(new History().sparkline(10)).toBe('');
  });

  it('carries the last count over gaps, and holds any time in bounded space', () => {
    const series = new History();
    series.add(0, 4);
    series.add(5_000, 8);
    expect(series.sparkline(10)).toBe('▅▅▅▅▅█');
    for (let hour = 1; hour <= 500; hour++) series.add(hour * 3_600_000, hour < 300 ? 0 : 8);
    expect(series.sparkline(1_000)).toMatch(/^[▁▅]+█+$/);
    expect(series.sparkline(1_000).length).toBeLessThanOrEqual(240);
    expect(series.sparkline(4)).toBe('▁▁██');
  });
});

describe('news', () => {
  it('tells of a finding when it appears, when it has doubled, and when it is a leak', () => {
    const news = new FindingNews();
    const report = reportOf(incidentWithPaths());
    const [first] = report.findings;
    if (first === undefined) throw new Error('the sample has no finding');
    const told = (count: number, leak: boolean): string[] =>
      news.linesOf({ ...report, findings: [{ ...first, count, leak }] });
    expect(told(10, false)).toEqual([
      '1m 20s  suspect  10 bind-failed EADDRINUSE, steady, leakyd[1234] at acquire_port (leak_worker.c:41)',
    ]);
    expect(told(19, false)).toEqual([]);
    expect(told(20, false)[0]).toContain('20 bind-failed EADDRINUSE (10 before)');
    expect(told(21, true)[0]).toContain('LEAK     21 bind-failed');
    expect(told(22, true)).toEqual([]);
  });

  it('is a few lines however much there is, and lets no name through raw', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        const lines = new FindingNews().linesOf(reportNamed(name));
        expect(lines.length).toBeLessThanOrEqual(6);
        expect(lines.at(-1)).toMatch(/and 3 more findings that appeared or grew$/);
        for (const line of lines) expect(line).not.toMatch(TERMINAL_OBEYS);
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../src/render/duration.ts';
import { escapeText } from '../../src/render/escape.ts';
import { renderJson, renderJsonParts } from '../../src/render/json.ts';
import { formatChange, formatCount, formatRate } from '../../src/render/numbers.ts';
import { renderStatusLine } from '../../src/render/statusline.ts';
import { ANSI } from '../../src/render/style.ts';
import { renderText } from '../../src/render/text.ts';
import type { Report, SnapshotSocket } from '../../src/report/types.ts';
import {
  ended,
  failure,
  history,
  hostSample,
  measured,
  OTHER,
  process,
  row,
  session,
  socket,
  tick,
  unavailable,
  walk,
} from './facts.ts';
import { incidentInputs, reportOf } from './sample-report.ts';

const HOSTILE = 'a\x1b]0;pwned\x07\u202eb\u009b31m\nc';
/** What the terminal would obey is in no fact of a socket; a test needs it there. */
function snapshotSocket(i: number): SnapshotSocket {
  return {
    inode: String(i),
    holders: i % 2 === 0 ? [] : [{ process: HOSTILE, fd: i }],
    kind: 'closed-unknown',
    class: 'closed',
    family: 4,
    state: 'CLOSE',
    port: null,
    local: { address: '0.0.0.0', port: 0 },
    peer: { address: '0.0.0.0', port: 0 },
    error: null,
    receiveQueue: 0,
    sendQueue: 0,
    memory: 0,
    idleMs: unavailable(),
    netns: 1,
    uid: 0,
  };
}

const TERMINAL_OBEYS = /[^\n\P{Cc}]|\p{Cf}|\p{Cs}/u;

describe('escapeText', () => {
  it('shows what a terminal would obey', () => {
    expect(escapeText(HOSTILE)).toBe('a\\x1b]0;pwned\\x07\\u{202e}b\\x9b31m\\x0ac');
    expect(escapeText('\ud800')).toBe('\\u{d800}');
    expect(escapeText('größe 日本')).toBe('größe 日本');
  });

  it('leaves nothing of that sort in any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/\p{Cc}|\p{Cf}|\p{Cs}/u.test(escapeText(text))));
  });
});

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['14s', 14_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1.5s', 1_500],
    ['0s', 0],
    [' 3s ', 3_000],
  ])('reads %j', (text, ms) => {
    expect(parseDuration(text)).toEqual({ ok: true, ms });
  });

  it.each(['', '5', 's', '-5s', '5 s', '5d', '1m30s', 'Infinitys', '1e3s', '99999h', '0x10s'])('refuses %j', (text) => {
    expect(parseDuration(text).ok).toBe(false);
  });

  it.each([
    [0, '0ms'],
    [999.9, '999ms'],
    [14_999, '14s'],
    [300_000, '5m'],
    [312_000, '5m 12s'],
    [7_500_000, '2h 5m'],
    [273_600_000, '3d 4h'],
    [-1_500, '-1s'],
  ])('writes %d as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('numbers', () => {
  it('are written for people', () => {
    expect([0, 999, 1_000, 41_019, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,000', '41,019', '1,234,567']);
    expect([40, 0, -1_500].map(formatChange)).toEqual(['+40', '0', '-1,500']);
    expect([812.4, 0.52, 2, 0.01, -31, null].map(formatRate)).toEqual([
      '+812/min',
      '+0.5/min',
      '+2/min',
      'steady',
      '-31/min',
      '?',
    ]);
  });
});

describe('renderText', () => {
  it('begins with the verdict: who, how many, why, how fast', () => {
    const [first, second] = renderText(reportOf(incidentInputs())).split('\n');
    expect(first).toBe(
      'LEAK  leakyd[1234] holds 29 sockets left open after bind() failed (EADDRINUSE), oldest 1m 7s, +28/min',
    );
    expect(second).toBe('LEAK  leakyd[1234] holds 12 sockets bound and never used, 12 ports, oldest 1m 19s, +9.6/min');
  });

  it('names victims, sums that close, and what to type next', () => {
    const text = renderText(reportOf(incidentInputs()));
    expect(text).toMatch(/VICTIM +7 {2}connect\(\) {2}EADDRNOTAVAIL {2}ftp\[4321\] +no free port left/);
    expect(text).not.toMatch(/VICTIM.*leakyd/);
    expect(text).toContain('alloc moved by +41, hooks counted +41 (opened 50, cloned 4, destroyed 13): the sums close');
    expect(text).toContain('ls -l /proc/1234/fd/22');
    expect(text).toContain('lsof -nP -p 1234');
    expect(text).toContain('which code: this version does not capture call paths');
  });

  it('says what does not close', () => {
    const text = renderText(
      reportOf([session(), hostSample(0, 10), hostSample(9_000, 15, { opened: 3 }), tick(9_000)]),
    );
    expect(text).toContain('alloc moved by +5, hooks counted +3 (opened 3, cloned 0, destroyed 0): +2 not explained');
  });

  it('says that too short a watch proves nothing, and for how long to watch', () => {
    const text = renderText(reportOf([session(), process(), hostSample(0, 1), tick(12_000)]));
    expect(text).toMatch(
      /^NOT KNOWN: .*\n {2}a trace shorter than --leak-age, before which nothing counts as a leak\n/,
    );
    expect(text).toContain('socktrace --pid 1234 --duration 5m');
    expect(renderText(reportOf([session(), process(), hostSample(0, 1), tick(60_000)]))).toMatch(/^NO LEAK in 1m of/);
  });

  it('gives the reasons when a leak may have been missed', () => {
    const loss = { type: 'loss', losses: [{ code: 'socket-table-full', count: 12 }] } as const;
    const text = renderText(
      reportOf([session(), hostSample(0, 1), { ...loss, losses: [...loss.losses] }, tick(60_000)]),
    );
    expect(text).toMatch(/^NOT KNOWN: .*\n {2}12 times a socket could not be followed/);
  });

  it('says what was held when a process exited, and sends nobody to its descriptors', () => {
    const held = socket(1, 1_000, { released: true, releaseState: 'CLOSE', heldAtExit: true });
    const text = renderText(reportOf([session(), process({ exitedMs: 3_000 }), ended(held, 3_000), tick(60_000)]));
    expect(text).toMatch(/^LEAK {2}leakyd\[1234\] exited with 1 socket never used after socket\(\), oldest 2s\n/);
    expect(text).not.toContain('NEXT');
  });

  it('points to ss for close-wait, which ss can list', () => {
    const facts = socket(1, 1_000, { state: 'CLOSE_WAIT', ever: history({ established: true }), port: 443 });
    const text = renderText(
      reportOf([session(), process(), hostSample(0, 1), row(facts), walk(5_000, [facts]), tick(60_000)]),
    );
    expect(text).toContain('ss -tnp state close-wait');
  });

  it('names holders where they are not the owner alone', () => {
    const facts = socket(1, 1_000, { owner: measured(OTHER) });
    const inputs = [session(), process(), process({ id: OTHER, pid: 4321, comm: 'parent' }), row(facts)];
    const text = renderText(reportOf([...inputs, walk(5_000, [facts]), tick(60_000)]));
    expect(text).toMatch(/unused.*parent\[4321\]\n.*\n {4}held by leakyd\[1234\] 1\n/);
  });

  it('lets no name, argument or reason reach the terminal raw', () => {
    const hostile = reportOf([
      session({
        host: {
          hostname: HOSTILE,
          bootId: 'b',
          kernel: HOSTILE,
          hooks: { set: 'cgroup', refused: [{ set: HOSTILE, reason: HOSTILE }], blindSpots: [HOSTILE] },
        },
      }),
      process({ comm: HOSTILE, cmdline: measured([HOSTILE]), unit: measured(HOSTILE), container: measured(HOSTILE) }),
      row(socket(1, 1_000)),
      row(socket(2, 1_000, { owner: unavailable(HOSTILE) })),
      failure({ comm: HOSTILE }),
      tick(60_000),
    ]);
    expect(renderText(hostile)).not.toMatch(TERMINAL_OBEYS);
    expect(renderStatusLine(hostile)).not.toMatch(TERMINAL_OBEYS);
    expect(renderJson(hostile)).not.toMatch(TERMINAL_OBEYS);
    expect(JSON.parse(renderJson(hostile))).toEqual(hostile);
  });

  it.each([0, 1, 511, 512, 513, 2_000])('the parts of a document with %i sockets are the document', (count) => {
    const value = Array.from({ length: count }, (_, i) => snapshotSocket(i));
    const report: Report = {
      ...reportOf([
        session({
          host: {
            hostname: `${HOSTILE}\n  "snapshot": {\n    "status": "measured",\n    "value": [`,
            bootId: 'b',
            kernel: 'k',
            hooks: { set: 'none', refused: [], blindSpots: [] },
          },
        }),
      ]),
      snapshot: measured(value),
    };
    const parts = [...renderJsonParts(report)];
    expect(parts.join('')).toBe(renderJson(report));
    expect(JSON.parse(parts.join(''))).toEqual(report);
    expect(parts.join('')).not.toMatch(TERMINAL_OBEYS);
    expect(Math.max(...parts.map(({ length }) => length))).toBeLessThan(600_000);
  });

  it('colours only when asked to', () => {
    const report = reportOf(incidentInputs());
    expect(renderText(report)).not.toContain('\x1b');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
    expect(renderText(report, ANSI).replace(/\x1b\[\d+m/g, '')).toBe(renderText(report));
  });
});

describe('renderStatusLine', () => {
  it('fits one line', () => {
    expect(renderStatusLine(reportOf(incidentInputs()))).toBe(
      'pid 1234 and its children · 1m 20s · held 43 · suspects 41 · ports 12 · LEAKS 2 · no loss',
    );
  });
});

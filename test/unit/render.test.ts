import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LedgerInput, PathRef } from '../../src/ledger/types.ts';
import { formatDuration, parseDuration } from '../../src/render/duration.ts';
import { escapeText, escapeWithin } from '../../src/render/escape.ts';
import { renderJson, renderJsonParts } from '../../src/render/json.ts';
import { formatChange, formatCount, formatRate } from '../../src/render/numbers.ts';
import { renderStatusLine } from '../../src/render/statusline.ts';
import { ANSI, PLAIN } from '../../src/render/style.ts';
import { renderText } from '../../src/render/text.ts';
import type { Report, SnapshotSocket } from '../../src/report/types.ts';
import {
  ended,
  failure,
  frame,
  history,
  hostSample,
  libcFrame,
  measured,
  OTHER,
  path,
  pathCounters,
  process,
  resolved,
  row,
  session,
  socket,
  tick,
  unavailable,
  walk,
} from './facts.ts';
import { incidentInputs, incidentWithPaths, reportOf } from './sample-report.ts';

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
    user: null,
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

describe('escapeWithin', () => {
  it('cuts what is too long, and shows it', () => {
    expect(escapeWithin('acquire_port', 12)).toBe('acquire_port');
    expect(escapeWithin('acquire_ports', 12)).toBe('acquire_p...');
    expect(escapeWithin('\x1b\x1b\x1b', 8)).toBe('\\x1b\\...');
  });

  it('leaves no more than asked for, and nothing that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), fc.integer({ min: 4, max: 40 }), (text, most) => {
        const shown = escapeWithin(text, most);
        expect([...shown].length).toBeLessThanOrEqual(most);
        expect(shown).not.toMatch(/\p{Cc}|\p{Cf}|\p{Cs}/u);
        if ([...escapeText(text)].length <= most) expect(shown).toBe(escapeText(text));
      }),
    );
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
      'LEAK  leakyd[1234] holds 29 sockets left open after bind() failed (EADDRINUSE), oldest 1m 7s, steady',
    );
    expect(second).toBe('LEAK  leakyd[1234] holds 12 sockets bound and never used, 12 ports, oldest 1m 19s, steady');
    const report = reportOf(incidentInputs());
    const rising = { ...report, findings: report.findings.map((finding) => ({ ...finding, perMinute: 28 })) };
    expect(renderText(rising).split('\n')[0]).toMatch(/, oldest 1m 7s, \+28\/min$/);
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

  it('of a recording it names no descriptor and no pid of another time or host, and what can be done with the file', () => {
    const next = (report: Report, ...files: string[]): string[] =>
      renderText(report, PLAIN, { files }).split('\nNEXT\n')[1]?.trimEnd().split('\n') ?? [];
    const leak = reportOf(incidentWithPaths());
    const lines = next(leak, 'night/leak.ndjson.gz');
    expect(lines.join('\n')).not.toMatch(/\/proc\/|lsof|nsenter|--pid/);
    expect(lines.map((line) => line.replace(/ {2,}# .*/, '').trim())).toEqual([
      'socktrace report night/leak.ndjson.gz --format html -o leak.html',
      'socktrace report night/leak.ndjson.gz --format folded',
      'socktrace report --diff night/leak.ndjson.gz AFTER',
    ]);
    expect(next(leak, 'a.ndjson', 'b.ndjson').join()).toContain('socktrace report --diff a.ndjson b.ndjson ');
    expect(next(leak, "'my leak.ndjson'").join()).toContain("report 'my leak.ndjson' --format html -o leak.html ");
    expect(next(leak)).toEqual([]);
    const short = reportOf([session(), process(), hostSample(0, 1), tick(12_000)]);
    expect(next(short, 'leak.ndjson').at(-1)).toMatch(
      /socktrace record --comm leakyd --duration 5m -o again.ndjson {2}# on \S+: a leak shows after 35s/,
    );
    const hostile = reportOf([session(), process({ comm: '$(reboot)' }), hostSample(0, 1), tick(12_000)]);
    expect(next(hostile, 'leak.ndjson').at(-1)).toContain('record --pid PID ');
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

  it('says when holders were counted, where sockets have come since', () => {
    const sockets = Array.from({ length: 12 }, (_, i) => socket(i, i < 9 ? 1_000 : 6_000));
    const at = (walked: number) =>
      renderText(
        reportOf([session(), process(), ...sockets.map(row), walk(5_000, sockets.slice(0, walked)), tick(60_000)]),
      );
    expect(at(9)).toMatch(/^ {4}held by leakyd\[1234\] 9 as of 2026-11-23T03:00:05\.000Z; 3 became suspects since$/m);
    expect(at(12)).not.toContain('held by');
  });

  it('says of a suspect why it is no leak yet, and of a short watch what it could not judge', () => {
    const sockets = Array.from({ length: 12 }, (_, i) => socket(i, 1_000));
    const at = (count: number, atMs: number) => {
      const held = sockets.slice(0, count);
      return renderText(reportOf([session(), process(), ...held.map(row), walk(atMs, held), tick(atMs)]));
    };
    expect(at(12, 20_000)).toMatch(/^ {4}no leak yet: none is 30s old$/m);
    expect(at(9, 60_000)).toMatch(/^ {4}no leak yet: fewer than 10, and not growing all the time$/m);
    expect(at(12, 60_000)).not.toContain('no leak yet');
    expect(at(9, 60_000)).toMatch(/^ {2}9 suspect sockets of leakyd\[1234\] below/m);
    const short = (atMs: number) =>
      renderText(reportOf([session(), process(), hostSample(0, 1, {}, { preexisting: 500, opened: 3 }), tick(atMs)]));
    expect(short(4_000)).toMatch(
      /^ {2}503 sockets held \(500 were when the trace began: .*: socktrace snapshot --pid 1234 lists them$/m,
    );
    expect(short(60_000)).not.toContain('lists them');
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
    const parts = [...renderJsonParts({ ...report, snapshot: measured([]) }, value)];
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

describe('call paths as text', () => {
  const CAPTURED = session({ callPaths: measured(true) });
  const main = frame('main', 'worker.c:9');

  /** The lines of one finding below its meaning, up to its example. */
  function pathLines(openPath: PathRef, ...inputs: LedgerInput[]): string[] {
    const facts = socket(1, 1_000, { openPath });
    const report = reportOf([CAPTURED, process(), ...inputs, row(facts), walk(5_000, [facts]), tick(10_000)]);
    const lines = renderText(report).split('\n');
    const from = lines.findIndex((line) => line.startsWith('    socket() was called'));
    const to = lines.findIndex((line) => line.startsWith('    e.g. '));
    return lines.slice(from + 1, to);
  }

  it('name the code in the headline, and the way to it in the finding', () => {
    const text = renderText(reportOf(incidentWithPaths()));
    expect(text.split('\n')[0]).toBe(
      'LEAK  leakyd[1234] holds 29 sockets left open after bind() failed (EADDRINUSE), oldest 1m 7s, steady, opened at acquire_port (leak_worker.c:41)',
    );
    expect(text).toContain(
      [
        '    bind() failed; the socket was not used since, and not closed',
        '    opened at    acquire_port  /src/leak_worker.c:41',
        '           from  service_loop leak_worker.c:88 < main leak_worker.c:120',
        '                 this path opened 41, bound 12, failed to bind 29, connected 0, closed 0 unused, holds 41',
        '    bind() at    try_bind  /src/leak_worker.c:52',
        '           from  acquire_port leak_worker.c:44 < service_loop leak_worker.c:88',
        '                 < main leak_worker.c:120',
        '                 this path bound 12, failed to bind 29',
        '    e.g. fd 22 of leakyd[1234]',
      ].join('\n'),
    );
    expect(text).toContain('    bound at     try_bind  /src/leak_worker.c:52');
    expect(text).toMatch(
      /29 {2}bind\(\) .* no free port left in the port range; the last at try_bind \(leak_worker.c:52\)\n/,
    );
  });

  it('say what share was not sampled, and nothing when all were', () => {
    const text = renderText(reportOf(incidentWithPaths()));
    expect(text).toContain('which code: of 9 of 50 sockets (18%), whose stacks were not sampled');
    const all = incidentWithPaths().filter(({ type }) => type !== 'pathCounters');
    const sampled = pathCounters({ open1: { opened: 41 }, 'not-sampled': {} });
    expect(renderText(reportOf([...all, sampled]))).not.toContain('which code');
  });

  it('say once why there are none', () => {
    const off = session({ callPaths: unavailable('switched off by --no-paths') });
    const facts = row(socket(1, 1_000, { openPath: unavailable('switched off by --no-paths') }));
    const text = renderText(reportOf([off, process(), facts, tick(10_000)]));
    expect(text.match(/--no-paths/g)).toHaveLength(1);
    expect(text).toContain('which code: switched off by --no-paths');
    expect(text).not.toContain('opened at');
  });

  it.each<[PathRef, string]>([
    [{ status: 'pending' }, 'not known yet: the stack is still being read'],
    [{ status: 'preexisting' }, 'not known: it happened before the trace began'],
    [{ status: 'not-sampled' }, 'not sampled: only so many stacks a second are copied'],
    [unavailable('exited before its code could be read'), 'not known: exited before its code could be read'],
    [resolved('lost'), 'call path lost, whose frames are not known'],
  ])('put %j in words', (ref, words) => {
    expect(pathLines(ref).join('\n')).toContain(`    opened at    ${words}`);
  });

  it('name modules where nothing else is known, and mark what may be wrong', () => {
    const inputs = [
      path('a', [
        libcFrame('socket'),
        frame(null),
        frame(null, null, { module: '[jit]', offset: '0x7f001000', how: 'guess', buildId: null }),
        frame(null, null, { module: null, offset: '0x7f002000', how: 'frame-pointer', buildId: null }),
        frame('helper', null, { module: '/opt/lib/libhelper.so.2' }),
        main,
      ]),
      pathCounters({ a: { opened: 1 } }),
    ];
    expect(pathLines(resolved('a'), ...inputs)).toEqual([
      '    opened at    leakyd+0x1a2b (build-id 1f2e3d4c)',
      '           from  [jit] 0x7f001000 ? < 0x7f002000 ? < helper libhelper.so.2 < main worker.c:9',
      '                 this path opened 1, bound 0, connected 0, closed 0 unused, holds 1',
    ]);
    const text = renderText(reportOf([CAPTURED, process(), ...inputs, ...leakOf('a', 1, 0), tick(40_000)]));
    expect(text).toContain('\n  ? the caller was found by its frame pointer or by a guess, not by unwind tables\n');
    expect(renderText(reportOf(incidentWithPaths()))).not.toContain('  ? ');
  });

  it('say what is missing, and what to do about it', () => {
    const notes = ['run java with -XX:+PreserveFramePointer', 'install the symbols of leakyd'];
    const lines = pathLines(resolved('a'), path('a', [frame('f'), main], { quality: 'unreliable', notes }));
    expect(lines).toEqual([
      '    opened at    f  leakyd',
      '           from  main worker.c:9',
      '                 not reliable: callers may be missing, or wrong',
      '                 run java with -XX:+PreserveFramePointer',
      '                 install the symbols of leakyd',
    ]);
    expect(pathLines(resolved('a'), path('a', [], { quality: 'unreadable' }))).toEqual([
      '    opened at    no frame could be read',
      '                 no caller could be found on the stack',
    ]);
  });

  it('advise no flag that this Python does not have', () => {
    const notes = ['Python functions are not told apart: run it with -X perf (3.12 or newer)'];
    const adviceFor = (module: string) =>
      pathLines(resolved('a'), path('a', [frame('main', null, { module })], { notes })).join('\n');
    expect(adviceFor('/usr/bin/python3.11')).toContain('told apart: this is 3.11, and -X perf came with 3.12');
    expect(adviceFor('/usr/lib/libpython3.9.so.1.0')).toContain('this is 3.9');
    for (const module of ['/usr/bin/python3.12', '/usr/bin/python3', '/opt/app'])
      expect(adviceFor(module)).toContain('run it with -X perf (3.12 or newer)');
  });

  it('say of an interpreter how many frames it has, and not which, where the script is not told apart', () => {
    const python = { module: '/usr/bin/python3.11' };
    const socketmodule = { module: '/usr/lib/python3.11/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so' };
    const frames = [
      libcFrame('socket'),
      frame('sock_initobj', null, socketmodule),
      ...Array.from({ length: 40 }, (_, i) =>
        frame(i % 2 ? '_PyEval_EvalFrameDefault' : '_PyEval_Vector', null, python),
      ),
      libcFrame('__libc_start_call_main'),
      frame('_start', null, python),
    ];
    const notes = ['Python functions are not told apart: run it with -X perf (3.12 or newer)'];
    expect(pathLines(resolved('a'), path('a', frames, { notes }))).toEqual([
      '    opened at    socket  libc.so.6',
      '           from  python3.11 (41 frames of the interpreter) < __libc_start_call_main libc.so.6',
      '                 < _start python3.11',
      "                 no frame of the program's own was found: these are libraries and runtimes",
      '                 Python functions are not told apart: this is 3.11, and -X perf came with 3.12: run with that, it would be told',
    ]);
  });

  it('show all frames where none is of the program, and do not accuse libc in the headline', () => {
    const inputs = [path('a', [libcFrame('socket'), libcFrame('start_thread')], { quality: 'truncated' })];
    expect(pathLines(resolved('a'), ...inputs)).toEqual([
      '    opened at    socket  libc.so.6',
      '           from  start_thread libc.so.6',
      "                 no frame of the program's own was found: these are libraries and runtimes",
      '                 the stack is larger than what is copied of it: callers are missing at the end',
    ]);
    const text = renderText(reportOf([CAPTURED, process(), ...inputs, ...leakOf('a', 12, 0), tick(40_000)]));
    expect(text.split('\n')[0]).toMatch(/oldest 39s$/);
  });

  it('of what was accepted say so', () => {
    const inputs = [
      path('a', [libcFrame('accept4'), frame('serve', 'worker.c:5'), main]),
      pathCounters({ a: { accepted: 7, ended: 2 } }),
    ];
    expect(pathLines(resolved('a'), ...inputs)).toEqual([
      '    accepted at  serve  worker.c:5',
      '           from  main worker.c:9',
      '                 this path accepted 7, holds 5',
    ]);
  });

  it('count the steps of a recursion, and leave out the end of a long way', () => {
    const deep = Array.from({ length: 50 }, () => frame('visit', 'tree.c:7'));
    const long = Array.from({ length: 20 }, (_, i) => frame(`f${i}`));
    const lines = pathLines(resolved('a'), path('a', [frame('leaf'), ...deep, ...long, main]));
    expect(lines.join(' ').replace(/ +/g, ' ')).toContain(
      'from visit tree.c:7 (50 times) < f0 leakyd < f1 leakyd < f2 leakyd',
    );
    expect(lines.at(-1)).toMatch(/< 10 more: see --json$/);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(100);
  });

  it('of one leak through several places make one headline', () => {
    const places = ['a', 'b', 'c'].map((id, i) => path(id, [frame(`open_${id}`, `worker.c:${i}`), main]));
    const sockets = [...leakOf('a', 5, 0), ...leakOf('b', 7, 100), ...leakOf('c', 5, 200)];
    const report = reportOf([CAPTURED, process(), ...places, ...sockets, tick(40_000)]);
    expect(renderText(report).split('\n').slice(0, 2)).toEqual([
      'LEAK  leakyd[1234] holds 17 sockets never used after socket(), oldest 39s, 7 of them opened at open_b (worker.c:1), others at 2 more places',
      '',
    ]);
  });

  it('of one leak through more places than a call takes arguments make one headline', () => {
    const report = reportOf([CAPTURED, process(), path('a', [main]), ...leakOf('a', 12, 0), tick(40_000)]);
    const [finding] = report.findings;
    if (finding === undefined) throw new Error('no finding');
    const text = renderText({ ...report, findings: Array.from({ length: 200_000 }, () => finding) });
    expect(text).toMatch(/^LEAK {2}leakyd\[1234\] holds 2,400,000 sockets /);
  });

  it('let no name, file, module, note or id reach the terminal raw, nor at length', () => {
    const long = HOSTILE.repeat(2_000);
    const hostile = { module: `/${long}`, buildId: long, offset: long, file: long, line: 3, how: 'guess' } as const;
    const frames = [
      frame(long, null, hostile),
      frame(`py::${long}:${long}`, null, hostile),
      frame(null, null, hostile),
    ];
    const inputs = [
      path('a', [...frames, ...frames.toReversed()], { notes: [long, long, long, long], quality: 'truncated' }),
      path('b', [frame(null, null, hostile), ...frames]),
      ...leakOf('a', 12, 0),
      ...leakOf('b', 12, 100),
      row(socket(900, 1_000, { openPath: resolved(long) })),
      row(socket(901, 1_000, { openPath: unavailable(long) })),
      failure({ path: resolved('a') }),
    ];
    const report = reportOf([CAPTURED, process(), ...inputs, tick(40_000)]);
    const text = renderText(report);
    expect(text).not.toMatch(TERMINAL_OBEYS);
    expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThan(700);
    expect(renderJson(report)).not.toMatch(TERMINAL_OBEYS);
    expect(JSON.parse(renderJson(report))).toEqual(report);
  });

  /** So many unused sockets that one path opened. */
  function leakOf(id: string, count: number, first: number): LedgerInput[] {
    return Array.from({ length: count }, (_, i) => row(socket(first + i, 1_000, { openPath: resolved(id) })));
  }
});

describe('renderStatusLine', () => {
  it('fits one line', () => {
    expect(renderStatusLine(reportOf(incidentInputs()))).toBe(
      'pid 1234 and its children · 1m 20s · held 43 · suspects 41 · ports 12 · LEAKS 2 · no loss',
    );
  });
});

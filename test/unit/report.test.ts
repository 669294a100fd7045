import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { CensusSocket } from '../../src/accounting/census.ts';
import { classify } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import { SOCKET_KINDS } from '../../src/ledger/kinds.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { type LedgerInput, LOSS_CODES } from '../../src/ledger/types.ts';
import { renderText } from '../../src/render/text.ts';
import { buildReport } from '../../src/report/report.ts';
import { reportSince } from '../../src/report/since.ts';
import { census, onPort } from './census-facts.ts';
import {
  ended,
  failure,
  frame,
  history,
  hostSample,
  measured,
  OTHER,
  OWNER,
  path,
  pathCounters,
  process,
  row,
  session,
  socket,
  tick,
  unavailable,
  walk,
} from './facts.ts';
import { incidentInputs, incidentWithPaths, reportOf } from './sample-report.ts';

const schema = JSON.parse(readFileSync(new URL('../../src/report/report.schema.json', import.meta.url), 'utf8'));
const validate = new Ajv2020({ allErrors: true }).compile(schema);

function expectValid(inputs: LedgerInput[]): void {
  validate(JSON.parse(JSON.stringify(reportOf(inputs))));
  expect(validate.errors).toBeNull();
}

describe('the schema', () => {
  it('holds for a leak with victims', () => expectValid(incidentInputs()));

  it('holds for call paths, and refuses what is none', () => {
    expectValid(incidentWithPaths());
    const report = JSON.parse(JSON.stringify(reportOf(incidentWithPaths())));
    expect(report.callPaths.value).toMatchObject([
      { id: 'open1', quality: 'complete', notes: [], counters: { opened: 41, bound: 12, bindFailed: 29, held: 41 } },
      { id: 'bind1', counters: { bound: 12, bindFailed: 29 } },
    ]);
    expect(report.callPaths.value[0].frames[1]).toEqual({
      function: 'acquire_port',
      module: '/usr/sbin/leakyd',
      buildId: '1f2e3d4c5b6a79880011223344556677',
      offset: '0x1a2b',
      file: '/src/leak_worker.c',
      line: 41,
      how: 'cfi',
    });
    expect(report.callPathsNotSampled).toMatchObject({ opened: 9, connected: 9, held: 0 });
    expect(report.callPathsNotListed).toBeNull();
    report.callPaths.value[0].frames[1].how = 'by chance';
    expect(validate(report)).toBe(false);
    const { callPathsNotSampled: _sum, ...rest } = report;
    expect(validate(rest)).toBe(false);
  });

  it('holds for paths that were not counted, not listed and not named', () => {
    expectValid([
      session({ callPaths: { status: 'measured', value: true } }),
      path('a', [frame(null, null, { module: null, buildId: null, how: 'guess' })], {
        quality: 'unreadable',
        notes: ['x'],
      }),
      pathCounters({ untold: { opened: 2 } }),
    ]);
  });

  it('holds for a session in which nothing happened', () => expectValid([session()]));

  it('holds for what is unknown, lost, held at exit and released', () => {
    const nobody = unavailable('the row had no owner');
    const held = socket(3, 1_000, { released: true, releaseState: 'CLOSE_WAIT', heldAtExit: true, port: 80 });
    expectValid([
      session(),
      row(
        socket(1, 1_000, { owner: nobody, origin: 'seeded', ever: unavailable(), openPath: { status: 'preexisting' } }),
      ),
      row(socket(2, 1_000, { ever: history({ bound: true }), bindPath: { status: 'resolved', id: 'p1' } })),
      ended(held, 2_000),
      walk(3_000, []),
      failure({ process: OTHER }),
      { type: 'loss', losses: [{ code: 'socket-table-full', count: 3 }] },
      tick(20_000),
    ]);
  });

  it('refuses a document that lacks a field', () => {
    const { verdict: _verdict, ...rest } = reportOf(incidentInputs());
    expect(validate(JSON.parse(JSON.stringify(rest)))).toBe(false);
  });

  it('knows every kind and every code of loss', () => {
    expect(schema.$defs.kind.enum).toEqual([...SOCKET_KINDS]);
    expect(schema.$defs.lossCode.enum).toEqual(Object.keys(LOSS_CODES));
  });
});

/** Of a process that is not traced. */
function stranger(input: LedgerInput): LedgerInput {
  if (input.type !== 'process') throw new Error('an input of another type');
  return { ...input, activity: { status: 'unavailable', reason: 'the process was not traced' } };
}

describe('buildReport', () => {
  it('tells incident A: who, how many, why, and that the sums close', () => {
    const report = reportOf(incidentInputs());
    expect(report.verdict).toEqual({
      is: 'leak',
      findings: ['bind-failed:/usr/sbin/leakyd:EADDRINUSE:-:-', 'bound-inactive:/usr/sbin/leakyd:-:-:-'],
    });
    expect(report.findings).toMatchObject([
      { kind: 'bind-failed', errno: 'EADDRINUSE', count: 29, ports: 0, holders: [{ process: OWNER, count: 29 }] },
      { kind: 'bound-inactive', errno: null, count: 12, ports: 12 },
    ]);
    expect(report.sockets).toMatchObject({ opened: 41, preexisting: 2, destroyed: 0, held: 43 });
    expect(report.sockstat).toMatchObject({ value: { moved: { value: { alloc: 41, unexplained: 0 } } } });
    expect(report.processes.map(({ comm }) => comm)).toEqual(['leakyd', 'ftp']);
  });

  it('sums failures that differ only in what the reader does not see', () => {
    const { failures } = reportOf(incidentInputs());
    expect(failures).toMatchObject({
      value: [
        { comm: 'leakyd', count: 29 },
        { comm: 'ftp', errno: 'EADDRNOTAVAIL', count: 7 },
        { comm: 'ftp', errno: 'ECONNREFUSED', count: 5 },
      ],
    });
  });

  it('takes totals as totals: repeated and late ones change nothing', () => {
    const inputs = [session(), failure({ count: 5 }), failure({ count: 7 }), failure({ count: 5 }), tick(1_000)];
    expect(reportOf(inputs).failures).toMatchObject({ value: [{ count: 7 }] });
    const losses: LedgerInput[] = [3, 5, 4].map((count) => ({
      type: 'loss',
      losses: [{ code: 'iterator-failed', count }],
    }));
    expect(reportOf([session(), ...losses]).loss.reasons).toMatchObject([{ code: 'iterator-failed', count: 5 }]);
  });

  it('says no leak only without loss; harmless loss does not count', () => {
    const quiet = [session(), process(), hostSample(0, 1), tick(60_000)];
    const lose = (code: keyof typeof LOSS_CODES): LedgerInput => ({ type: 'loss', losses: [{ code, count: 2 }] });
    expect(reportOf(quiet).verdict).toEqual({ is: 'no-leak' });
    expect(reportOf([...quiet, lose('event-ring-full')]).verdict).toEqual({ is: 'no-leak' });
    for (const code of ['stack-ring-full', 'path-table-full', 'path-cache-wrong', 'unwinder-died'] as const)
      expect(reportOf([...quiet, lose(code)]).verdict).toEqual({ is: 'no-leak' });
    expect(reportOf([...quiet, lose('event-ring-full')]).loss.complete).toBe(false);
    expect(reportOf([...quiet, lose('socket-table-full')]).verdict).toEqual({
      is: 'not-known',
      because: [`2 ${LOSS_CODES['socket-table-full']}`],
    });
    expect(reportOf([...incidentInputs(), lose('socket-table-full')]).verdict.is).toBe('leak');
  });

  it('is not known while time alone could make a leak of what is there', () => {
    const young = Array.from({ length: 12 }, (_, i) => socket(i, 50_000));
    const inputs = (sockets: typeof young, atMs: number): LedgerInput[] => [
      session(),
      process(),
      hostSample(0, 1),
      ...sockets.map(row),
      walk(atMs, sockets),
      tick(atMs),
    ];
    expect(reportOf(inputs(young, 70_000)).verdict).toEqual({
      is: 'not-known',
      because: ['12 unused sockets of leakyd[1234] that are too young to tell: a leak, or none'],
    });
    const many = Array.from({ length: 1_200 }, (_, i) => socket(i, 50_000));
    expect(reportOf(inputs(many, 70_000)).verdict).toMatchObject({ because: [expect.stringMatching(/^1,200 unused/)] });
    const old = many.map((facts) => ({ ...facts, origin: 'seeded', ever: unavailable() }) as const);
    expect(reportOf(inputs(old.slice(0, 12), 70_000)).verdict).toMatchObject({
      because: ['12 closed-unknown sockets of leakyd[1234] that are not known to be old enough: a leak, or none'],
    });
    expect(reportOf(inputs(young, 90_000)).verdict.is).toBe('leak');
    // Too few to be a leak at any age.
    expect(reportOf(inputs(young.slice(0, 9), 70_000)).verdict).toEqual({ is: 'no-leak' });
  });

  it('is not known before anything can be a leak, unless every process has been seen to its end', () => {
    const short = [session(), process(), hostSample(0, 1), tick(10_000)];
    expect(reportOf(short).verdict).toMatchObject({ is: 'not-known', because: [expect.stringContaining('leak-age')] });
    expect(reportOf([...short, process({ exitedMs: 9_000 })]).verdict).toEqual({ is: 'no-leak' });
  });

  it('never shows counters that were not read as zero', () => {
    const report = reportOf([session(), tick(60_000)]);
    expect(report.sockets).toMatchObject({ opened: null, held: null });
    expect(report.verdict.is).toBe('not-known');
    expect(report.sockstat.status).toBe('unavailable');
  });

  it('maps its window to the wall clock', () => {
    const { window } = reportOf([session({ clock: { monotonicMs: 5_000, wallMs: 0 } }), tick(65_000)]);
    expect(window).toMatchObject({
      startedAt: '1970-01-01T00:00:00.000Z',
      endedAt: '1970-01-01T00:01:00.000Z',
      durationMs: 60_000,
    });
  });

  it('keeps what /proc told of a process after it is gone', () => {
    const gone = { exe: unavailable('gone'), cmdline: unavailable('gone'), exitedMs: 5_000 };
    const { processes } = reportOf([session(), process(), process(gone), tick(10_000)]);
    expect(processes).toMatchObject([{ exited: true, exe: { value: '/usr/sbin/leakyd' } }]);
  });

  it('forgets children that exited and left nothing, but no target', () => {
    const ledger = new Ledger();
    ledger.apply(session());
    ledger.apply(process({ exitedMs: 1 }));
    for (let pid = 10_000; pid < 13_000; pid += 1) {
      ledger.apply(process({ id: `boot:${pid}:1`, pid, exitedMs: 1 }));
      ledger.apply(tick(100_000 + pid));
    }
    expect([...ledger.processes()].length).toBeLessThan(1_100);
    expect(buildReport(ledger).processes.map(({ pid }) => pid)).toEqual([1234]);
  });

  describe('ports', () => {
    const neighbour = process({ id: OTHER, pid: 4321, comm: 'ftp' });
    const theirs = onPort(443, { state: 'LISTEN', holders: [{ process: OTHER, pid: 13, fd: 3 }] });
    const idle = (count: number) => Array.from({ length: count }, (_, i) => onPort(40_000 + i));
    const look = (atMs: number, sockets: CensusSocket[]): LedgerInput => {
      const taken = census(sockets);
      const namespaces = taken.namespaces.map((one) => ({
        ...one,
        portRange: measured([40_000, 59_999] as const),
        reservedPorts: measured([]),
      }));
      if (neighbour.type !== 'process') throw new Error('an input of another type');
      const ports = portsOf({ ...taken, namespaces });
      const seen = { classes: classify(taken), ports, processes: [neighbour.facts], unseen: [] };
      return { type: 'census', atMs, seen: { status: 'measured', value: seen } };
    };
    const looks = (...counts: [second: number, count: number][]) => [
      session(),
      ...counts.map(([second, count]) => look(second * 1_000, [...idle(count), theirs])),
    ];
    const portsLine = (...counts: [second: number, count: number][]) =>
      /range 40000-59999: (.*)/.exec(renderText(reportOf(looks(...counts))))?.[1];

    it('tells how those of each holder grew between two looks, and who they are', () => {
      const elsewhere = onPort(80, { netns: 7, state: 'LISTEN' });
      const inputs = [
        session(),
        look(0, [...idle(20), theirs]),
        look(15_000, [...idle(20), theirs]),
        look(30_000, [...idle(50), theirs, elsewhere]),
      ];
      const { ports, processes } = reportOf(inputs);
      // Who was not looked up is named by its pid.
      expect(processes).toMatchObject([
        { id: OWNER, pid: 1234, comm: '?' },
        { id: OTHER, pid: 4321, comm: 'ftp', activity: { status: 'unavailable' } },
      ]);
      expect(ports).toMatchObject({
        value: [
          {
            inRange: 50,
            perMinute: { value: 120 },
            msToFull: { value: 9_975_000 },
            holders: [
              { process: OWNER, use: 'closed-unknown', count: 50, before: 20, perMinute: 120 },
              { process: OTHER, use: 'listening', count: 1, before: 1, perMinute: 0 },
            ],
          },
          // Seen for the first time.
          { netns: 7, perMinute: { status: 'unavailable' }, holders: [{ before: null, perMinute: null }] },
        ],
      });
      expect(renderText(reportOf(inputs))).toMatch(
        /^ {6}50 {2}closed-unknown {2}\?\[1234\], \+120\/min\n {7}1 {2}listening +ftp\[4321\] /m,
      );
      expectValid(inputs);
    });

    it('that grew at first and do not any more have no rate, and no time that is left', () => {
      expect(portsLine([0, 0], [10, 500], [20, 500], [40, 500])).toBe('500 of 20,000 in use, 19,500 free');
      const { ports } = reportOf(looks([0, 0], [10, 500], [20, 500], [40, 500]));
      expect(ports).toMatchObject({ value: [{ perMinute: { value: 0 }, holders: [{ before: 0, perMinute: 0 }, {}] }] });
    });

    it('that began to grow late have the rate of late', () => {
      expect(portsLine([0, 0], [10, 0], [20, 0], [40, 200])).toBe(
        '200 of 20,000 in use, 19,800 free, +600/min: full in 33m at this rate',
      );
    });

    it('that a few came to, or that go on for ages, have none either', () => {
      expect(portsLine([0, 40], [150, 41], [300, 43])).toBe('43 of 20,000 in use, 19,957 free');
      expect(portsLine([0, 40], [150, 41], [300, 55])).toBe('55 of 20,000 in use, 19,945 free');
      expect(portsLine([0, 40], [2, 40], [5, 900])).toBe('900 of 20,000 in use, 19,100 free');
    });

    it('of a full range cannot grow', () => {
      const text = renderText(reportOf(looks([0, 0], [10, 10_000], [20, 20_000])));
      expect(text).toContain('20,000 of 20,000 in use, 0 free: bind to port 0 and connect() find no port\n');
      expect(text).not.toContain('/min');
    });

    it('of a later part have no growth of the part before', () => {
      const [before, after] = [looks([0, 0]), looks([0, 0], [5, 250], [10, 500])].map((inputs) => reportOf(inputs));
      if (before === undefined || after === undefined) throw new Error('no report');
      expect(renderText(after)).toContain('+3,000/min');
      const part = reportSince({ report: before, counters: new Map(), failedCalls: undefined }, after);
      expect(renderText(part)).not.toContain('/min');
      expect(part.ports).toMatchObject({ value: [{ holders: [{ before: null, perMinute: null }, {}] }] });
    });
  });

  it('puts failures of other network namespaces last, and marks them', () => {
    const unread = stranger(process({ id: OTHER, pid: 4321, comm: 'ftp', netns: unavailable('it has ended') }));
    const inputs = [
      session(),
      process(),
      unread,
      failure({ process: OWNER, pid: 1234, comm: 'leakyd', errno: 'ECONNREFUSED', cause: 'refused', count: 1 }),
    ];
    const far = failure({
      process: `b:${2 ** 31 + 351}:1`,
      pid: 0,
      comm: 'nginx',
      errno: 'ECONNRESET',
      cause: 'reset',
    });
    const rowsOf = (text: string) => text.match(/^.*(?:connect|bind)\(\).*$/gm);
    const textOf = (netns: number) => renderText(reportOf([...inputs, failure({ count: 50, netns })]));
    for (const [netns, name] of [
      [7, '7'],
      [0, 'not known'],
    ] as const)
      expect(rowsOf(textOf(netns))).toEqual([
        expect.stringMatching(/leakyd\[1234\] +the peer/),
        expect.stringContaining(`ftp[4321] (netns ${name})`),
      ]);
    // Of another pid namespace, by its number there.
    expect(renderText(reportOf([...inputs, far]))).toMatch(/ {2}nginx\[351 outside\] {2}/);
    // In that of the traced process, the victim comes first.
    expect(rowsOf(textOf(4026531840))?.[0]).toMatch(/VICTIM.*\[4321\] {2}/);
  });

  it('says who took the last port, and calls only others victims of that', () => {
    const here = { status: 'measured', value: 1 } as const;
    const hog = stranger(process({ id: OTHER, pid: 4321, comm: 'hog', netns: here }));
    const names = [process({ netns: here }), hog];
    const at = (mine: number, theirs: number): LedgerInput => {
      const taken = census([
        ...Array.from({ length: mine }, (_, i) => onPort(50_000 + i, { state: 'ESTABLISHED' })),
        ...Array.from({ length: theirs }, (_, i) =>
          onPort(50_000 + mine + i, { holders: [{ process: OTHER, pid: 4321, fd: 3 }] }),
        ),
      ]);
      const [namespace] = taken.namespaces;
      if (namespace === undefined) throw new Error('a census without a namespace');
      const ports = portsOf({ ...taken, namespaces: [{ ...namespace, path: '/run/netns/blue' }] });
      const seen = { classes: classify(taken), ports, unseen: [] };
      return { type: 'census', atMs: 30_000, seen: { status: 'measured', value: seen } };
    };
    const noPort = { operation: 'connect', errno: 'EADDRNOTAVAIL', cause: 'no-free-port', netns: 1 } as const;
    const failures = [failure({ ...noPort, count: 5 }), failure({ ...noPort, process: OWNER, pid: 1234, count: 3 })];
    const textOf = (mine: number, theirs: number) =>
      renderText(reportOf([session(), ...names, at(mine, theirs), ...failures]));
    const text = textOf(3, 6);
    expect(text).toMatch(
      /^NO PORTS LEFT {2}in network namespace blue: 9 of 10 ports in use, 6 of them closed-unknown by hog\[4321\]$/m,
    );
    expect(text).toMatch(/^ {2}socktrace --pid 4321 +# it has most idle ports of network namespace blue$/m);
    expect(text).toMatch(/by hog\[4321\]\n {2}1 process fails for it: ftp\[1234\] 3 times\n/);
    // That of the traced process is another one.
    const far = [process({ netns: measured(7) }), hog];
    expect(renderText(reportOf([session(), ...far, at(0, 9)]))).toMatch(
      /^NO PORTS LEFT {2}elsewhere on this host, in network namespace blue: 9 of 10 ports in use, all of them closed-unknown by hog\[4321\]$/m,
    );
    expect(renderText(reportOf([session(), ...far, at(3, 6)]))).toMatch(
      /^NO PORTS LEFT {2}in network namespace blue:/m,
    );
    expect(text.match(/VICTIM.*/g)).toEqual([expect.stringContaining('[1234]')]);
    expect(textOf(6, 3).match(/VICTIM.*/g)).toEqual([expect.stringContaining('[4321]')]);
    expect(textOf(3, 5)).not.toMatch(/PORTS LEFT|for it/);

    // Those that fail most first, each process once; not those of another namespace.
    const elsewhere = { status: 'measured', value: 7 } as const;
    const others = ['a', 'b', 'c', 'd'].flatMap((comm, i): LedgerInput[] => {
      const other = { process: `${comm}:${50 + i}:1`, pid: 50 + i, comm };
      return [
        stranger(process({ id: other.process, pid: other.pid, comm, netns: comm === 'd' ? elsewhere : here })),
        failure({ ...noPort, ...other, netns: comm === 'd' ? 7 : 1, count: i + 1 }),
        failure({
          ...noPort,
          ...other,
          netns: comm === 'd' ? 7 : 1,
          operation: 'bind',
          errno: 'EADDRINUSE',
          detail: 'port-zero',
          count: 10,
        }),
      ];
    });
    expect(renderText(reportOf([session(), ...names, at(3, 6), ...failures, ...others]))).toMatch(
      /^ {2}4 processes fail for it: c\[52\] 13 times, b\[51\] 12 times, a\[50\] 11 times and 1 more 3 times$/m,
    );
  });

  it('needs a session line', () => {
    expect(() => buildReport(new Ledger())).toThrow('session line');
  });
});

describe('failed calls', () => {
  const refused = { status: 'unavailable', reason: 'load the programs: EINVAL' } as const;
  const unseen = (...inputs: LedgerInput[]): LedgerInput[] => [session({ failedCalls: refused }), ...inputs];

  it('are not known where none are seen: an empty list would read as none', () => {
    const inputs = unseen(...incidentInputs().filter(({ type }) => type !== 'session' && type !== 'failure'));
    expectValid(inputs);
    expect(reportOf(inputs).failures).toEqual(refused);
    expect(renderText(reportOf(inputs))).toContain('FAILED CALLS\n  not known: load the programs: EINVAL');
  });

  it('are listed as far as they are seen', () => {
    const report = reportOf(unseen(...incidentInputs().filter(({ type }) => type !== 'session')));
    expect(report.failures).toEqual(reportOf(incidentInputs()).failures);
    expect(report.failures.status).toBe('measured');
  });
});

// A recording may come from anybody: what it says reaches no terminal as a command, and no report as another's facts.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { HostCensus, LedgerInput } from '../../src/ledger/types.ts';
import { Compactor } from '../../src/recording/compact.ts';
import { type Loaded, loadRecording, spanOf } from '../../src/recording/load.ts';
import { renderFolded } from '../../src/render/folded.ts';
import { renderSpeedscope } from '../../src/render/speedscope.ts';
import { renderText } from '../../src/render/text.ts';
import {
  BOOT,
  failure,
  hostSample,
  measured,
  OWNER,
  process,
  row,
  session,
  socket,
  tick,
  unavailable,
} from './facts.ts';
import { directory, HEADER, newPath, WHOLE } from './recordings.ts';
import { incidentWithPaths } from './sample-report.ts';

function linesOf(inputs: readonly LedgerInput[]): string[] {
  const compactor = new Compactor();
  return inputs.flatMap((input) => compactor.linesOf(input).map((line) => JSON.stringify(line)));
}

/** A recording that was closed. */
function whole(inputs: readonly LedgerInput[]): string[] {
  const lines = [HEADER, ...linesOf(inputs)];
  return [...lines, JSON.stringify({ type: 'end', because: 'the test is over', lines: lines.length })];
}

async function loadLines(lines: readonly string[]): Promise<Loaded> {
  const path = newPath();
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
  return loadRecording(path, WHOLE);
}

describe('text that a stranger chose', () => {
  // Title of the window, hidden text, a second line, half of a pair.
  const HOSTILE = '\u001b]0;x\u0007\u009b31m\u202e\u2028\ud800\r\n</script>;';
  const census: HostCensus = {
    classes: {
      alloc: measured(3),
      classes: [{ name: 'closed', count: 3, evidence: 'state CLOSE' }],
      unplaced: measured(0),
    },
    ports: [
      {
        netns: 4026531840,
        path: '/proc/1/ns/net',
        inuse: measured(1),
        range: measured([50_000, 50_001]),
        reserved: measured([]),
        inUse: 2,
        inRange: 2,
        outOfRange: 0,
        free: measured(0),
        holders: [{ process: OWNER, use: 'bound-inactive', count: 2, inRange: 2 }],
        destinations: [{ address: '10.0.0.1', port: 80, count: 2, free: 0 }],
      },
    ],
    unseen: ['something'],
  };
  const { session: facts } = session({
    target: { pids: [1234], processes: [OWNER], follow: true, selectors: [{ by: 'comm', value: 'leakyd' }] },
  }) as Extract<LedgerInput, { type: 'session' }>;
  const hooks = { set: 'cgroup', refused: [{ set: 'fentry', reason: 'EPERM' }], blindSpots: ['some'] } as const;
  const all = linesOf([
    { type: 'session', session: { ...facts, host: { ...facts.host, hooks: structuredClone(hooks) as never } } },
    ...incidentWithPaths().filter(({ type }) => type !== 'session'),
    ...[1, 2, 3].map((n) =>
      row(socket(500 + n, 1_000, { owner: unavailable('not seen'), openPath: unavailable('none') })),
    ),
    failure({ path: unavailable('not captured') }),
    { type: 'census', atMs: 80_500, seen: measured(census) },
    hostSample(81_000, 1_900),
    tick(81_000),
  ]);

  /** The names of properties that lead to each text, by the type of the line: `socket.facts.owner.value`. */
  function placesOf(value: unknown, at: string): string[] {
    if (typeof value === 'string') return [at];
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([name, part]) =>
      placesOf(part, `${at}.${Array.isArray(value) ? '*' : name}`),
    );
  }

  function withHostile(value: unknown, at: string, place: string): unknown {
    if (typeof value === 'string') return at === place ? HOSTILE : value;
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((part) => withHostile(part, `${at}.*`, place));
    return Object.fromEntries(
      Object.entries(value).map(([name, part]) => [name, withHostile(part, `${at}.${name}`, place)]),
    );
  }

  const typeOf = (line: string): string => (JSON.parse(line) as { type: string }).type;
  const places = [...new Set(all.flatMap((line) => placesOf(JSON.parse(line), typeOf(line))))].filter(
    (place) => !place.endsWith('.type'),
  );

  it('has no power over a terminal, wherever it stands', async () => {
    expect(places.length).toBeGreaterThan(70);
    const obeyed: string[] = [];
    for (const place of places) {
      const lines = all.map((line) => JSON.stringify(withHostile(JSON.parse(line), typeOf(line), place)));
      // Without its session there is no report.
      const refused =
        place.startsWith('session.') && (await loadLines([HEADER, lines[0] as string]).catch(() => null)) === null;
      if (refused) continue;
      const { report } = await loadLines([HEADER, ...lines]);
      const texts = [
        renderText(report),
        renderFolded(report, 'sockets'),
        renderFolded(report, 'failures'),
        renderSpeedscope(report),
      ];
      for (const text of texts)
        if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text.replaceAll('\n', ''))) obeyed.push(place);
      const line = texts[0]?.split('\n').find((one) => one.startsWith('</script>'));
      if (line !== undefined) obeyed.push(`${place}: a line of its own`);
    }
    expect([...new Set(obeyed)]).toEqual([]);
  });
});

describe('what was never one recording', () => {
  const inputs = incidentWithPaths();
  const other = session({
    host: { hostname: 'db1', bootId: 'other', kernel: '6', hooks: { set: 'fentry', refused: [], blindSpots: [] } },
    clock: { monotonicMs: 9e9, wallMs: Date.UTC(2026, 11, 1) },
  });
  const others = [
    other,
    process({ id: 'other:9:1', pid: 9, comm: 'other' }),
    row(socket(9_000, 9e9)),
    tick(9e9 + 60_000),
  ];

  it.each([
    ['was closed', whole(inputs)],
    ['was not closed', whole(inputs).slice(0, -1)],
  ])('a recording behind one that %s is not taken for its continuation', async (_, first) => {
    const alone = await loadLines(first);
    const { report, replayed } = await loadLines([...first, ...whole(others)]);
    expect(replayed.damage).toBe('another recording begins there');
    expect(report.loss.reasons).toMatchObject([{ code: 'recording-torn', count: 1 }]);
    expect({ ...report, loss: null, verdict: null }).toEqual({ ...alone.report, loss: null, verdict: null });
    const path = newPath();
    writeFileSync(path, [...first, ...whole(others)].join('\n'));
    expect((await spanOf(path)).endMs).toBe(Date.parse(alone.report.window.endedAt));
  });

  /** Members of some lines each. */
  function packed(lines: readonly string[], each = 40): Buffer[] {
    const members: Buffer[] = [];
    for (let i = 0; i < lines.length; i += each)
      members.push(
        gzipSync(
          lines
            .slice(i, i + each)
            .map((line) => `${line}\n`)
            .join(''),
        ),
      );
    return members;
  }

  it.each([
    ['letters', Buffer.from('neither a member nor nothing '.repeat(20))],
    ['zeros, as a power cut may leave them', Buffer.alloc(4_096)],
    ['the beginning of a member', gzipSync('x'.repeat(100)).subarray(0, 12)],
  ])('between two members of gzip: %s: every line before it is read, and the damage counts', async (_, between) => {
    const lines = whole(inputs);
    const members = packed(lines);
    expect(members.length).toBeGreaterThan(2);
    const path = newPath('.ndjson.gz');
    writeFileSync(path, Buffer.concat([members[0] as Buffer, members[1] as Buffer, between, ...members.slice(2)]));
    const { replayed, report } = await loadRecording(path, WHOLE);
    expect(replayed).toMatchObject({ lines: 80, end: null });
    expect(replayed.damage).not.toBeNull();
    expect(report.loss.reasons).toMatchObject([{ code: 'recording-torn' }]);
    expect(report.verdict.is).not.toBe('no-leak');
  });

  it('behind a packed recording that was closed: all of it is read', async () => {
    const lines = whole(inputs);
    const path = newPath('.ndjson.gz');
    writeFileSync(path, Buffer.concat([...packed(lines), Buffer.from('something')]));
    const { replayed } = await loadRecording(path, WHOLE);
    expect(replayed.end).not.toBeNull();
    expect(replayed.damage).not.toBeNull();
  });

  it('damaged far behind its beginning: nothing is read twice, and nothing before it is lost', async () => {
    const noise = Array.from({ length: 3_000 }, (_, i) =>
      process({ id: `${BOOT}:${10_000 + i}:1`, pid: 10_000 + i, comm: randomBytes(8).toString('hex') }),
    );
    const lines = [HEADER, ...linesOf([...inputs, ...noise])];
    const members = packed(lines, 100);
    const path = newPath('.ndjson.gz');
    const before = members.slice(0, -3);
    expect(Buffer.concat(before).length).toBeGreaterThan(50_000);
    writeFileSync(path, Buffer.concat([...before, Buffer.from('?'), ...members.slice(-3)]));
    const { replayed } = await loadRecording(path, WHOLE);
    expect(replayed.lines).toBe(before.length * 100);
  });

  it.each([
    ['a directory', () => directory],
    ['a device without end', () => '/dev/zero'],
    [
      'a pipe that nobody writes to',
      () => {
        const path = newPath('.pipe');
        execFileSync('mkfifo', [path]);
        return path;
      },
    ],
  ])('%s is refused, not waited for', async (_, path) => {
    await expect(loadRecording(path(), WHOLE)).rejects.toThrow(/is no file$/);
  });

  it('lines without end that say nothing are not all looked at', { timeout: 120_000 }, async () => {
    const path = newPath('.ndjson.gz');
    const nothing = gzipSync(Buffer.alloc(1 << 24, '\n'));
    writeFileSync(path, Buffer.concat([...packed([HEADER, ...linesOf(inputs)]), ...Array(64).fill(nothing)]));
    const { replayed } = await loadRecording(path, WHOLE);
    expect(replayed.damage).toMatch(/a hundred thousand lines/);
    expect(replayed.torn).toBeLessThan(110_000);
  });
});

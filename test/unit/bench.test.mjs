import { describe, expect, it } from 'vitest';
import { tryPeer } from '../../scripts/bench/lib/peers.mjs';
import { renderMarkdown, renderText } from '../../scripts/bench/lib/render.mjs';
import { atLeast, atMost, failed, measured, notRun, once, row } from '../../scripts/bench/lib/rows.mjs';
import { share, summarize } from '../../scripts/bench/lib/statistics.mjs';
import { timedRun } from '../../scripts/bench/lib/timed-run.mjs';

describe('statistics', () => {
  it('the median is of the values, sorted as numbers', () => {
    expect(summarize([100, 9, 20])).toEqual({ value: 20, min: 9, max: 100, count: 3 });
    expect(summarize([4, 1, 3, 2])).toMatchObject({ value: 2.5 });
    expect(summarize([7])).toEqual({ value: 7, min: 7, max: 7, count: 1 });
    expect(summarize([])).toBeNull();
  });

  it('leaves the values as they were', () => {
    const values = [3, 1, 2];
    summarize(values);
    expect(values).toEqual([3, 1, 2]);
  });

  it('a share is that of the whole time, bursts included', () => {
    const parts = [1, 1, 70].map((amount) => ({ amount, over: 1_000 }));
    expect(share(parts)).toEqual({ value: 0.024, min: 0.001, max: 0.07, count: 3 });
    // Of times that differ, not the mean of the shares.
    expect(
      share([
        { amount: 10, over: 10 },
        { amount: 0, over: 90 },
      ]),
    ).toMatchObject({ value: 0.1, max: 1 });
    expect(share([])).toBeNull();
  });
});

describe('budgets', () => {
  const holds = (result, budget) => row('something', result, { budget }).holds;

  it('hold up to their limit, and with it', () => {
    expect(holds(once('times', 1.5), atMost('times', 1.5))).toBe(true);
    expect(holds(once('times', 1.51), atMost('times', 1.5))).toBe(false);
    expect(holds(once('times', 30), atLeast('times', 30))).toBe(true);
    expect(holds(once('times', 29.9), atLeast('times', 30))).toBe(false);
    expect(holds(once('count', 0), atMost('count', 0))).toBe(true);
  });

  it('are about the typical value, not about the worst', () => {
    expect(holds(measured('ns', summarize([1, 2, 900])), atMost('ns', 10))).toBe(true);
    expect(holds(measured('share', share([{ amount: 1, over: 9 }])), atMost('share', 0.1))).toBe(false);
  });

  it('are not judged when nothing was measured, or not what they are for', () => {
    for (const nothing of [notRun('no root'), failed('it broke'), measured('ns', null)])
      expect(holds(nothing, atMost('ns', 1))).toBeNull();
    expect(holds(once('bytes', 1), atMost('bytes', 256, '1,000,000 rows'))).toBeNull();
    expect(holds(once('ns', 1), null)).toBeNull();
  });
});

const rows = [
  row('added', measured('ns', summarize([1_100, 900, 1_400])), {
    beside: [
      ['floor', once('ns', 380)],
      ['strace -k', once('ns', 9_200_000)],
      ['bcc | others', notRun('no <headers>')],
    ],
  }),
  row('to the floor', once('times', 2.345), { budget: atMost('times', 1.5) }),
  row('speed', once('lines/s', 612_345), { budget: atLeast('lines/s', 500_000) }),
  row('memory', once('bytes', 166e6), { budget: atMost('bytes', 512e6, '10,000,000 lines') }),
  row('CPU', measured('share', share([{ amount: 1, over: 80 }]))),
  row('page', failed('it crashed')),
  row('cycle', measured('ns', null)),
];
const host = { version: '1.2.3', hooks: 'cgroup', kernel: '6.18', cpu: 'X', cpus: 2, pinning: 'pinned', load: 0.1 };
const result = { schemaVersion: 1, host, startedAt: '', quick: false, seconds: 12.4, rows };

describe('the table', () => {
  it('for a terminal: a line a row, and one more for each that is beside it', () => {
    const lines = renderText(result).split('\n');
    const table = lines.slice(lines.findIndex((line) => line.startsWith('what ')));
    expect(table.map((line) => line.replace(/ {2,}/g, '  '))).toEqual([
      'what  measured  budget  holds  beside it',
      'added  1.10 (0.90..1.40) µs  floor: 380 ns',
      '  strace -k: 9.20 ms',
      '  bcc | others: NOT RUN: no <headers>',
      'to the floor  2.35 times  at most 1.50 times  NO',
      'speed  612 k lines/s  at least 500 k lines/s  yes',
      'memory  166 MB  at most 512 MB, at 10,000,000 lines  not judged',
      'CPU  1.25 %',
      'page  FAILED  because: it crashed',
      'cycle  NOT MEASURED  because: disturbed each time, by another tracer or other work',
      '',
      'budgets: 1 hold, 1 do not, 1 were not judged',
    ]);
    const columns = (texts) => texts.map((each) => table.find((line) => line.includes(each)).indexOf(each));
    expect(new Set(columns(['beside it', 'floor:', 'strace -k:', 'because: it', 'because: dist'])).size).toBe(1);
    expect(new Set(columns(['budget', 'at most 1.50', 'at least', 'at most 512'])).size).toBe(1);
  });

  it('says on what, with how much effort, and whether the machine was quiet', () => {
    expect(renderText(result)).toMatch(
      /^socktrace 1\.2\.3, hook set cgroup; Linux 6\.18, 2 x X; pinned\nMedians .* 12 s/,
    );
    expect(renderText(result)).not.toMatch(/Quick|QUIET/);
    const busy = renderText({ ...result, quick: true, host: { ...host, load: 4.25, hooks: null } });
    expect(busy).toMatch(/hook set unknown.*NOT QUIET: a load of 4\.3 when it began\n.*Quick: /);
  });

  it('as markdown: each row in one line, and nothing in a cell ends it', () => {
    const lines = renderMarkdown(result).split('\n');
    const table = lines.filter((line) => line.startsWith('|'));
    expect(table).toHaveLength(2 + rows.length);
    for (const line of table) expect(line.match(/(?<!\\)\|/g)).toHaveLength(6);
    expect(table[2]).toContain('floor: 380 ns<br>strace -k: 9.20 ms<br>bcc \\| others: NOT RUN: no \\<headers\\>');
  });
});

describe('a tool beside it', () => {
  const first = (peer) => tryPeer({ attached: /^ready/m, ...peer }, process.pid);

  it('is absent with the reason of each way', async () => {
    const { reason, start } = await first({ ways: ['no-such-tool -p PID', 'ls /no/such/folder/PID'] });
    expect(start).toBeUndefined();
    expect(reason).toMatch(/^no-such-tool: not installed; ls: .*No such file or directory$/);
  });

  it('is the first way that says it is attached, and ends when told to', async () => {
    const { start } = await first({ ways: ['ls /no/such/folder/PID', 'tail -f -n 1 package.json'], attached: /^}/m });
    const tool = await start();
    expect(() => process.kill(tool.pid, 0)).not.toThrow();
    await tool.stop();
    expect(() => process.kill(tool.pid, 0)).toThrow();
  });
});

describe('a program that is run to its end', () => {
  const node = (script) => [process.execPath, '-e', script];

  it('has its CPU and its memory counted, those of its children too', async () => {
    const work = 'for (let i = 0; i < 5e8; i++);';
    const child = `require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(work)}])`;
    for (const script of [work, child]) {
      const { ns, cpuNs, peakBytes } = await timedRun(node(script), 60_000);
      expect(cpuNs).toBeGreaterThanOrEqual(50e6);
      expect(ns).toBeGreaterThan(0);
      expect(peakBytes).toBeGreaterThan(1e6);
    }
  });

  it('is killed and told of when it does not end, and when it fails', async () => {
    await expect(timedRun(node('setInterval(() => {}, 1_000)'), 300)).rejects.toThrow('not at its end after 0.3 s');
    await expect(timedRun(node('process.exit(3)'), 60_000)).rejects.toThrow('it ended with 3');
    await expect(timedRun(['/nowhere/at-all'], 60_000)).rejects.toThrow('ENOENT');
  });
});

// The live view in a real terminal, against a service that really leaks: every key, every size, every way out.
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { builtProgram, Puppet } from '../host/puppet.ts';
import { Program, until } from './programs.ts';
import { MAIN, nothingLeft, Socktrace, socktrace } from './socktrace.ts';
import { type Size, Terminal } from './terminal.ts';

const SHORT = '--min-age 200ms --leak-age 400ms --leak-count 3';
const USUAL: Size = { columns: 80, rows: 24 };
const LARGE: Size = { columns: 200, rows: 50 };
/** What is opened from then on is traced from its beginning. */
const LIVE = /^pid .* hooks /;
const CRASH = `--import 'data:text/javascript,process.on("SIGUSR2",()=>{throw new Error("crash for a test")})'`;

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
  await nothingLeft();
});

/** Leaks bound sockets until its 120 ports are gone, which may be before it is traced, then sockets whose bind fails. */
async function demo(): Promise<number> {
  const limits = ['--rate', '20', '--max', '15000', '--lifetime', '300'];
  return Number(await Program.start(process.execPath, MAIN, 'demo', 'incident', ...limits).said(/ready pid=(\d+)/));
}

/** The socktrace that a shell has started. */
async function childOf(shell: number): Promise<number> {
  return until('the shell has a child', () => {
    const [child] = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim().split(' ');
    return child === undefined || child === '' ? null : Number(child);
  });
}

function rowsIn(screen: string): string[] {
  return screen.split('\n').filter((line) => /^[ >](LEAK|suspect) /.test(line));
}

describe('every key', () => {
  it.each([USUAL, LARGE])('at $columns x $rows', async (size) => {
    const pid = await demo();
    await using terminal = await Terminal.open(size);
    await terminal.socktrace(`--pid ${pid} ${SHORT}`);
    const first = await terminal.shows((screen) => rowsIn(screen).length > 1 && screen.includes('bind-failed'));
    expect(await terminal.modes()).toMatchObject({ alternate: true, cursor: false });
    const lines = first.split('\n');
    expect(lines).toHaveLength(size.rows);
    expect(lines[0]).toMatch(
      new RegExp(`^pid ${pid} and its children  \\d+m?s  no loss  hooks (fentry|kprobe|cgroup)`),
    );
    expect(lines[1]).toMatch(/^suspects \d+ {2}(LEAKS \d|no leak yet) {2}[▁▂▃▄▅▆▇█]+$/);
    expect(lines[2]).toMatch(/^ports \d+ of 120 in 50000-50119/);
    expect(lines[3]).toMatch(/^preexisting \d+ \+ opened \d+ .* = held \d+$/);
    expect(rowsIn(first)[0]).toMatch(/^>.* leaky-\S*\[\d+\]/);

    await terminal.keys('Down');
    await terminal.shows((screen) => rowsIn(screen)[1]?.startsWith('>') ?? false);
    await terminal.keys('k');
    await terminal.shows((screen) => rowsIn(screen)[0]?.startsWith('>') ?? false);

    await terminal.type('/bind-fa');
    await terminal.shows(/^\/bind-fa_$/m);
    await terminal.keys('Enter');
    const filtered = await terminal.shows((screen) => rowsIn(screen).length === 1);
    expect(rowsIn(filtered)[0]).toContain('bind-failed');

    await terminal.keys('Enter');
    const open = await terminal.shows('CALL PATHS');
    expect(open).toMatch(/\d+ sockets? left open after bind\(\) failed \(EADDRINUSE\)/);
    expect(open).toContain('leaky_service.c');
    await until('the end of the page shows a holder', async () => {
      // Pressed again, since what is known of the sockets grows, and the page with it.
      await terminal.keys('End');
      return /^HOLDERS\n +\d+ {2}leaky-service\[\d+\]$/m.test((await terminal.screen()).join('\n'));
    });
    await terminal.keys('BSpace');
    await terminal.shows((screen) => rowsIn(screen).length === 1);
    await terminal.keys('Escape');
    await terminal.shows((screen) => rowsIn(screen).length > 1);

    for (const sort of ['ports', 'age', 'growth', 'kind']) {
      await terminal.type('s');
      await terminal.shows(`s sort: ${sort}`);
    }
    const byKind = rowsIn(await terminal.shows('s sort: kind')).map((line) => line.slice(1).trim().split(/ +/)[2]);
    expect(byKind).toEqual(byKind.toSorted());
    await terminal.type('S');
    await terminal.shows('s sort: kind reversed');
    await terminal.type('s');

    await terminal.type('p');
    const paused = await terminal.comesToRest(/^PAUSED {2}pid/);
    await terminal.type('?');
    await terminal.shows('stop tracing and print the report');
    await terminal.keys('Escape');
    // Nothing of it has moved meanwhile, though the service has leaked on.
    expect(await terminal.comesToRest('s sort: count')).toBe(paused);
    await terminal.type('p');
    await terminal.shows((screen) => !screen.includes('PAUSED') && screen.split('\n')[3] !== paused.split('\n')[3]);

    await terminal.type('q');
    const report = await terminal.isRestored(0);
    expect(report).toContain('OBSERVED WITH');
    expect(report).toContain('lsof -nP -p');
  });
});

it('says of no port that it is free while others find none', async () => {
  await using puppet = await Puppet.start({ netns: true });
  await using other = await Puppet.start({ netnsOf: puppet });
  await puppet.commands('port-range 50000 50019', 'open g v4 15', 'bind g zero');
  await using terminal = await Terminal.open({ columns: 120, rows: 30 });
  await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
  await terminal.shows(/^ports 15 of 20 in 50000-50019 {2}5 free/m);
  await puppet.commands('open h v4 5', 'bind h zero');
  await other.commands('open o v4 3', 'bind o zero');
  const screen = await terminal.shows('NO FREE PORT');
  expect(screen).toMatch(/^ports (15 of 20 in 50000-50019 {2}3 calls found none free since|20 of 20 .* FULL)/m);
  await terminal.type('q');
  await terminal.isRestored(0);
});

describe('a crowd', () => {
  const PROGRAMS = 20;
  const LOW = 16;
  /** without the header, the title, the line of the selected row, and the footer */
  const FITTING = LOW - 7;

  it('shows errno and code of each, and the selected row stays where it is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'socktrace-crowd-'));
    try {
      // Programs of their own, each with a number of sockets that found no port.
      const pids = await Promise.all(
        Array.from({ length: PROGRAMS }, async (_, i) => {
          const path = join(folder, `crowd-${i}`);
          copyFileSync(builtProgram('leaky-service'), path);
          const limits = ['--rate', '50', '--max', `${30 + 2 * i}`, '--lifetime', '300', '--start-paused'];
          return Number(await Program.start(path, 'bind-failed', ...limits).said(/ready pid=(\d+)/));
        }),
      );
      await using terminal = await Terminal.open({ columns: 100, rows: LOW });
      await terminal.socktrace(`${pids.map((pid) => `--pid ${pid}`).join(' ')} ${SHORT}`);
      await terminal.shows(/^pids .* hooks /);
      for (const pid of pids) process.kill(pid, 'SIGUSR2');
      const all = new RegExp(`^1/${PROGRAMS} {2}q leave`, 'm');
      // All there will be: from then on nothing changes but how old they are.
      await terminal.shows(/^suspects 980 {2}LEAKS 20 /m);
      await terminal.type('SS');
      const wide = await terminal.comesToRest(
        (screen) =>
          // Before they are leaks they are victims, who have a line of their own.
          rowsIn(screen).length === FITTING && rowsIn(screen).every((row) => row.includes('leaky_service.c:')),
      );
      expect(wide).toMatch(all);
      const rows = rowsIn(wide);
      for (const row of rows)
        expect(row).toMatch(/ \d+ {2}bind-failed +EADDRINUSE .* crowd-\S+\[\d+\] +leaky_service\.c:\d+$/);
      const counts = rows.map((row) => Number(/ (\d+) {2}bind/.exec(row)?.[1]));
      expect(counts).toEqual(counts.toSorted((a, b) => b - a));

      await terminal.resize({ ...USUAL, rows: LOW });
      const narrow = await terminal.comesToRest(
        (screen) => !screen.includes(' AT') && rowsIn(screen).length === FITTING,
      );
      for (const row of rowsIn(narrow)) expect(row).toMatch(/bind-failed +EADDRINUSE .* crowd-\S+\[\d+\]$/);
      expect(narrow).toMatch(/^> crowd-\d+\[\d+\], opened at reserve_data_port \(leaky_service\.c:\d+\)$/m);

      await terminal.keys(...Array.from({ length: 10 }, () => 'Down'));
      const marked = (screen: string): [number, string | undefined] => {
        const line = screen.split('\n').findIndex((text) => text.startsWith('>'));
        return [line, /\[\d+\]/.exec(screen.split('\n')[line] ?? '')?.[0]];
      };
      const before = marked(await terminal.comesToRest(/^11\//m));
      expect(before[0]).toBe(4 + FITTING);
      await terminal.type('S');
      const after = await terminal.comesToRest((screen) => screen.includes('reversed') && !screen.includes('\n11/'));
      expect(marked(after)).toEqual(before);
      await terminal.type('q');
      await terminal.isRestored(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('r', () => {
  it('records the trace from its beginning on, into a file of its own; the report of it is the live one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'socktrace-live-'));
    try {
      await using puppet = await Puppet.start({ netns: true });
      // Large enough for the whole report, without a line that wraps.
      await using terminal = await Terminal.open({ columns: 300, rows: 150 });
      await terminal.type(`cd ${folder}`);
      await terminal.keys('Enter');
      await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
      await terminal.shows(LIVE);
      await puppet.commands('open g v4 5', 'bind g zero');
      await terminal.shows(/LEAK +5 +bound-inactive/);
      await terminal.type('/r');
      await terminal.shows(/^\/r_$/m);
      await terminal.keys('Escape');
      await terminal.shows(/^1\/\d {2}q leave/m);
      expect(readdirSync(folder)).toEqual([]);
      await terminal.type('r');
      await terminal.shows(new RegExp(`^REC socktrace-${puppet.pid}-\\d{8}T\\d{6}Z\\.ndjson {2}pid `));
      await puppet.command('open h v4 6');
      await terminal.shows(/LEAK +6 +unused/);
      await terminal.type('q');
      await terminal.isRestored(0);
      const screen = await terminal.shows(/^recorded \d+ lines, .* to socktrace-/m);
      const [name = ''] = readdirSync(folder);
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
      const { code, stdout } = await socktrace('report', join(folder, name));
      expect(code).toBe(0);
      expect(stdout).toContain('6  unused');
      // What to type next is another thing for a recording.
      const [told = ''] = stdout.split('\nNEXT\n');
      expect(screen).toContain(told.trimEnd());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says in whole why it cannot, on a terminal of the usual size', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await using terminal = await Terminal.open(USUAL);
    // Where nobody can make a file.
    await terminal.type('cd /proc');
    await terminal.keys('Enter');
    await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
    await terminal.shows(LIVE);
    await terminal.type('r');
    const screen = await terminal.shows('cannot be written');
    const lines = screen.split('\n');
    const traced = lines.findIndex((line) => line.startsWith(`pid ${puppet.pid} `));
    expect(lines.slice(0, traced).join(' ')).toMatch(
      /^(socktrace-\d+-\d{8}T\d{6}Z\.ndjson) cannot be written: ENOENT: no such file or directory, open '\1'$/,
    );
    expect(lines[traced]).toMatch(/ no loss {2}hooks \w+$/);
    await terminal.type('q');
    await terminal.isRestored(0);
  });

  it('again ends the recording, which is whole as of then', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'socktrace-live-'));
    try {
      await using puppet = await Puppet.start({ netns: true });
      await using terminal = await Terminal.open({ columns: 120, rows: 30 });
      await terminal.type(`cd ${folder}`);
      await terminal.keys('Enter');
      await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
      await terminal.shows(LIVE);
      await puppet.command('open g v4 5');
      await terminal.shows(/LEAK +5 +unused/);
      await terminal.type('r');
      await terminal.shows(/^REC /);
      await terminal.type('r');
      await terminal.shows(/^recorded socktrace-/);
      const name = join(folder, readdirSync(folder)[0] ?? '');
      await until('the recording is closed', () => readFileSync(name, 'utf8').includes('"type":"end"'));
      const { stdout, stderr } = await socktrace('report', name);
      expect(stdout).toMatch(/LEAK +5 +unused/);
      expect(stderr).toBe('');
      await puppet.command('open h v4 6');
      await terminal.shows(/LEAK +11 +unused/);
      await terminal.type('r');
      await terminal.shows(/^one recording a trace: recorded socktrace-/);
      expect(readdirSync(folder)).toHaveLength(1);
      await terminal.type('q');
      await terminal.isRestored(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('a terminal that changes', () => {
  it('is filled anew at each size, down to where there is no room', async () => {
    const pid = await demo();
    await using terminal = await Terminal.open(USUAL);
    await terminal.socktrace(`--pid ${pid} ${SHORT}`);
    await terminal.shows('bind-failed');
    for (const size of [{ columns: 40, rows: 10 }, LARGE, { columns: 12, rows: 4 }, { columns: 1, rows: 1 }, USUAL]) {
      await terminal.resize(size);
      const footer = size.columns < 40 ? /\S/ : /^1\/\d {2}q leave/;
      // Until it is drawn anew the terminal shows the end of what was there.
      const head = size.columns < 40 ? /(?:)/ : /^pid /;
      const screen = await terminal.shows((text) => {
        const lines = text.split('\n');
        return lines.length === size.rows && head.test(text) && footer.test(lines.at(-1) ?? '');
      });
      if (size.columns >= 40) {
        expect(screen).toMatch(/^>.* leaky-\S*\[\d+\]/m);
      }
    }
    await terminal.keys('C-c');
    await terminal.isRestored(0);
  });

  it('is given back at Ctrl-Z, and taken again', async () => {
    const pid = await demo();
    await using terminal = await Terminal.open(USUAL);
    await terminal.socktrace(`--pid ${pid} ${SHORT}`);
    await terminal.shows('bind-failed');
    await terminal.keys('C-z');
    await terminal.shows('Stopped');
    expect(await terminal.modes()).toMatchObject({ alternate: false, cursor: true, wrap: true });
    await terminal.type('fg; echo "status $?"');
    await terminal.keys('Enter');
    await terminal.shows(/^1\/\d {2}q leave/m);
    expect(await terminal.modes()).toMatchObject({ alternate: true, cursor: false });
    await terminal.type('q');
    await terminal.isRestored(0);
  });
});

describe('the screen is restored', () => {
  const ways: { name: string; status: number; says: string; leave: (shell: Terminal, pid: number) => Promise<void> }[] =
    [
      { name: 'at Ctrl-C', status: 0, says: 'OBSERVED WITH', leave: (terminal) => terminal.keys('C-c') },
      { name: 'at Ctrl-C twice', status: 130, says: 'press again', leave: (terminal) => terminal.keys('C-c', 'C-c') },
      { name: 'at SIGTERM', status: 0, says: 'OBSERVED WITH', leave: (_, pid) => kill(pid, 'SIGTERM') },
      { name: 'at SIGHUP', status: 0, says: 'OBSERVED WITH', leave: (_, pid) => kill(pid, 'SIGHUP') },
      { name: 'after a crash', status: 1, says: 'crash for a test', leave: (_, pid) => kill(pid, 'SIGUSR2') },
    ];

  it.each(ways)('$name', async ({ status, says, leave }) => {
    await using puppet = await Puppet.start({ netns: true });
    await using terminal = await Terminal.open(USUAL);
    await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`, CRASH);
    await terminal.shows(LIVE);
    await puppet.command('open g v4 5');
    await terminal.shows('unused');
    await leave(terminal, await childOf(await terminal.pid()));
    await terminal.isRestored(status);
    expect((await terminal.screen()).join('\n')).toContain(says);
    await terminal.type('echo still "here"');
    await terminal.keys('Enter');
    await terminal.shows(/^still here$/m);
  });

  it('when the target exits', async () => {
    await using terminal = await Terminal.open(USUAL);
    {
      await using puppet = await Puppet.start({ netns: true });
      await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
      await terminal.shows(LIVE);
      await puppet.command('open g v4 5');
      await terminal.shows('unused');
    }
    await terminal.isRestored(0);
  });

  it('and nothing goes on when the terminal is closed', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const terminal = await Terminal.open(USUAL);
    await terminal.socktrace(`--pid ${puppet.pid} ${SHORT}`);
    await terminal.shows(LIVE);
    await puppet.command('open g v4 5');
    await terminal.shows('unused');
    const pid = await childOf(await terminal.pid());
    await terminal.hangUp();
    await until('socktrace has ended', () => !isAlive(pid));
  });
});

describe('what terminals can do', () => {
  it('NO_COLOR: no colours; else leaks are red', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open g v4 5', 'bind g zero', 'open h v4 6');
    for (const env of [{}, { NO_COLOR: '1' }]) {
      await using terminal = await Terminal.open(USUAL, env);
      await terminal.socktrace(`--pid ${puppet.pid} --min-age 200ms --leak-age 300ms --leak-count 3`);
      await terminal.shows((screen) => rowsIn(screen).length > 0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
      const coloured = /\x1b\[[0-9;]*m/.test((await terminal.screen('-e')).join('\n'));
      expect(coloured).toBe(!('NO_COLOR' in env));
      await terminal.type('q');
      await terminal.isRestored(0);
    }
  });

  it('TERM=dumb: the status line, and no screen of its own', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await using terminal = await Terminal.open(USUAL, { TERM: 'dumb' });
    await terminal.socktrace(`--pid ${puppet.pid}`);
    await terminal.shows(/pid \d+ and its children · \d+.*no leak yet/);
    expect((await terminal.modes()).alternate).toBe(false);
    await terminal.keys('C-c');
    await terminal.isRestored(0);
  });

  it('no terminal: findings on stderr as they appear and grow, and the report alone on stdout', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', `${puppet.pid}`, ...SHORT.split(' ')]);
    await running.tracing();
    await puppet.commands('open g v4 4', 'bind g zero');
    await running.said(/^\d+m?s {2}(suspect|LEAK {3}) {2}4 bound-inactive, 4 ports, .*puppet\[\d+\]/m);
    await puppet.commands('open h v4 5', 'bind h zero');
    await running.said(/9 bound-inactive \(4 before\), 9 ports/);
    running.child.kill('SIGINT');
    const { code, stdout } = await running.finished();
    expect(stdout).toMatch(/^(LEAK|NOT KNOWN)/);
    expect(stdout).not.toContain('before)');
    expect(code).toBe(0);
  });
});

async function kill(pid: number, signal: NodeJS.Signals): Promise<void> {
  process.kill(pid, signal);
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

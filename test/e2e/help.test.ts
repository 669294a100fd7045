// Help pages, and what is said of mistakes: which command line was meant.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { DEMO_KINDS } from '../../src/cli/demo.ts';
import { examplesOf, GROUPS } from '../../src/cli/help.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { socktrace } from './socktrace.ts';

const program = buildProgram();
const commands: Command[] = [program, ...program.commands];
const ARGS = (command: Command): string[] => (command === program ? [] : [command.name()]);

describe.each(commands.map((command) => ({ name: command.name(), command })))('the page of $name', ({ command }) => {
  it('begins with examples, fits into 80 columns, and has every option in its group', async () => {
    const { stdout, stderr, code } = await socktrace(...ARGS(command), '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Examples:\n {2}\S/);
    for (const { line } of examplesOf(command)) expect(stdout).toContain(`  ${line}`);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    const headings = [...stdout.matchAll(/^\S.*:$/gm)].map(([heading]) => heading);
    const known: readonly string[] = Object.values(GROUPS);
    const groups = headings.filter((heading) => known.includes(heading));
    expect(groups).toEqual(known.filter((heading) => groups.includes(heading)));
    for (const { flags, helpGroupHeading } of command.options) {
      const section = stdout.slice(stdout.indexOf(`\n${helpGroupHeading}\n`)).split('\n\n')[0];
      expect(section, `${flags} in ${helpGroupHeading}`).toContain(`  ${flags}`);
    }
  });

  it('says of every value what holds without it', () => {
    for (const { flags, description, required, defaultValue, defaultValueDescription } of command.options) {
      if (!required) continue;
      const says = defaultValue !== undefined || defaultValueDescription !== undefined;
      expect(says || /default|needed|repeatable/.test(description), flags).toBe(true);
    }
  });
});

it('the kinds of the demo are those of its service', async () => {
  const { stdout } = await socktrace('demo', 'list');
  expect(stdout.match(/^\S+/gm)).toEqual(DEMO_KINDS.filter((kind) => kind !== 'list'));
});

describe('what was meant', () => {
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-meant-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, mode: number): string => {
    const path = join(folder, name);
    writeFileSync(path, '');
    chmodSync(path, mode);
    return path;
  };
  const recording = file('leak.ndjson', 0o600);
  const service = file('service', 0o755);

  it.each([
    { typed: ['--durtion', '5s'], says: 'did you mean --duration?' },
    { typed: ['record', '--max-s', '5'], says: 'did you mean --max-sockets or --max-size?' },
    { typed: ['snpashot'], says: 'did you mean "SOCKTRACE snapshot"?' },
    { typed: ['1234'], says: 'did you mean "SOCKTRACE --pid 1234"?' },
    { typed: ['1234', '--json'], says: 'did you mean "SOCKTRACE --pid 1234 --json"?' },
    { typed: [recording, '--since', '5m'], says: `did you mean "SOCKTRACE report ${recording} --since 5m"?` },
    { typed: [recording], says: `did you mean "SOCKTRACE report ${recording}"?` },
    { typed: ['gone.ndjson.gz'], says: 'did you mean "SOCKTRACE report gone.ndjson.gz"?' },
    { typed: [service], says: `did you mean "SOCKTRACE run -- ${service}"?` },
    { typed: ['trace', '--pid', '1'], says: 'did you mean "SOCKTRACE --pid 1"?' },
    { typed: ['trace'], says: 'did you mean "SOCKTRACE --pid PID"?' },
    { typed: ['--pid', 'nginx'], says: 'did you mean --comm nginx?' },
    { typed: ['-pid', '1234'], says: 'did you mean --pid?' },
    { typed: ['--pid', '1', '--duration', '5'], says: 'did you mean 5s, or 5m?' },
    { typed: ['snapshot', '--duration', '5m'], says: '--duration is an option of "socktrace", "socktrace record"' },
    { typed: ['--format', 'html'], says: '--format is an option of "socktrace report"' },
    { typed: ['--pid', '1', 'snapshot'], says: 'did you mean "SOCKTRACE snapshot --pid 1"?' },
    { typed: ['--follow', '--pid', '1'], says: 'it is the default, and --no-follow switches it off' },
    { typed: ['--json=1'], says: '--json takes no value' },
    { typed: ['--pid'], says: '--pid needs a value' },
    { typed: ['report'], says: 'socktrace report [options] <file...>' },
    { typed: ['snapshot', '25742'], says: 'did you mean "SOCKTRACE snapshot --pid 25742"?' },
    { typed: ['snapshot', '25742', '--json'], says: 'did you mean "SOCKTRACE snapshot --pid 25742 --json"?' },
    { typed: ['record', '-o', 'leak', '77'], says: 'did you mean "SOCKTRACE record -o leak --pid 77"?' },
    { typed: ['doctor', '77'], says: '"socktrace doctor" takes no "77": socktrace doctor [options]' },
    { typed: ['help', 'recrod'], says: 'there is no command "recrod": did you mean record?' },
    { typed: ['snapshot', '--kind', 'closewait'], says: '--kind closewait: did you mean close-wait?' },
    { typed: ['snapshot', '--kind', 'closed'], says: '--kind closed: did you mean closed-unknown?' },
    { typed: ['snapshot', '--kind', 'magic'], says: '--kind magic: Allowed choices are connect-failed, ' },
    { typed: ['snapshot', '--kind', 'closing,close-wait'], says: 'did you mean --kind closing --kind close-wait?' },
    { typed: ['--pid', '77,78'], says: '--pid 77,78: each is given by itself; did you mean --pid 77 --pid 78?' },
    { typed: ['--pid', 'nginx,redis'], says: 'did you mean --comm nginx --comm redis?' },
    { typed: ['report', 'x', '--format', 'jsn'], says: '--format jsn: did you mean json?' },
    { typed: ['--hooks', 'fentyr', '--pid', '1'], says: '--hooks fentyr: did you mean fentry?' },
    { typed: ['help', 'magic'], says: 'Allowed choices are snapshot, ' },
    { typed: ['nobody-is-called-so'], says: 'SOCKTRACE --help shows what there is' },
    { typed: ['\x1b]0;title\x07'], says: '\\x1b' },
  ])('$typed: $says', async ({ typed, says }) => {
    const { code, stdout, stderr } = await socktrace(...typed);
    expect(stderr.replaceAll(/node \S*main\.js/g, 'SOCKTRACE')).toContain(says);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('the name of a process that runs', async () => {
    // Of this one: others of this host have other names.
    const own = readFileSync('/proc/self/comm', 'utf8');
    const name = `meant-${process.pid}`;
    writeFileSync('/proc/self/comm', name);
    try {
      expect((await socktrace(name)).stderr).toContain(`main.js --comm ${name}"?`);
      expect((await socktrace('snapshot', '--pid', name)).stderr).toContain(`${name} is --pid ${process.pid}\n`);
    } finally {
      writeFileSync('/proc/self/comm', own);
    }
  });
});

// Shell completion: what real shells offer is what the tree of commands has.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { notRun } from '../host/not-run.ts';
import { Puppet } from '../host/puppet.ts';
import { isInstalled, type Offers, SHELLS } from './completion-shells.ts';
import { socktrace } from './socktrace.ts';

const program = buildProgram();
const commands = program.commands;
const names = commands.map((command) => command.name());

/** Options as they are typed, from commander itself. */
function flagsOf(command: Command): string[] {
  const help = command.createHelp();
  return help.visibleOptions(command).flatMap(({ short, long }) => [short, long].filter((flag) => flag !== undefined));
}

const choosing = [program, ...commands].flatMap((command) =>
  command.options
    .filter(({ argChoices }) => argChoices !== undefined)
    .map((option) => ({ line: lineBefore(command, option), choices: option.argChoices ?? [] })),
);

function lineBefore(command: Command, { long }: Option): string {
  return `${command === program ? 'socktrace' : `socktrace ${command.name()}`} ${long} `;
}

describe.each(SHELLS)('$name', (shell) => {
  const folder = mkdtempSync(join(tmpdir(), `socktrace-${shell.name}-`));
  const script = join(folder, 'completion');
  let offers: Offers = () => [];

  beforeAll(async () => {
    const { stdout, stderr, code } = await socktrace('completion', shell.name);
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    writeFileSync(script, stdout);
    writeFileSync(join(folder, 'leak one.ndjson'), '');
    writeFileSync(join(folder, 'trace.ndjson.gz'), '');
    offers = shell.open(script, folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const test = (name: string, body: () => void | Promise<void>): void => {
    it(name, async (context) => {
      if (!isInstalled(shell)) notRun(context, `${shell.name} is not installed`);
      await body();
    });
  };

  test('commands, also behind options of the root, and begun ones', () => {
    expect(offers('socktrace ')).toEqual([...names].sort());
    expect(offers('socktrace --pid 1 ')).toEqual([...names].sort());
    expect(offers('socktrace sn')).toEqual(['snapshot']);
    expect(offers('socktrace help re')).toEqual(['record', 'report']);
  });

  test('the options of each command', () => {
    for (const command of [program, ...commands]) {
      const before = command === program ? 'socktrace' : `socktrace ${command.name()}`;
      expect(offers(`${before} -`), before).toEqual(flagsOf(command).sort());
    }
  });

  test('the choices of options and arguments, also behind "="', () => {
    expect(choosing.map(({ line }) => line)).toContain('socktrace report --format ');
    for (const { line, choices } of choosing) expect(offers(line), line).toEqual([...choices].sort());
    expect(offers('socktrace --hooks=f').map((word) => word.replace('--hooks=', ''))).toEqual(['fentry']);
    for (const command of commands) {
      const [first] = command.registeredArguments;
      if (first?.argChoices === undefined) continue;
      expect(offers(`socktrace ${command.name()} `), command.name()).toEqual([...first.argChoices].sort());
    }
  });

  test('files where a file is meant', () => {
    for (const line of ['report tr', 'report leak.ndjson tr', 'record -o tr', 'run --allow-file tr'])
      expect(offers(`socktrace ${line}`), line).toEqual(['trace.ndjson.gz']);
    expect(offers('socktrace report le').map((name) => name.replace('\\', ''))).toEqual(['leak one.ndjson']);
  });

  test('pids, users and names of processes, and no name that a shell would obey', async () => {
    await using puppet = await Puppet.start();
    for (const line of ['--pid ', '-p ', 'snapshot --pid ', 'record --netns-of ']) {
      const pids = offers(`socktrace ${line}`);
      expect(pids, line).toContain(`${puppet.pid}`);
      expect(pids.filter((word) => !/^\d+$/.test(word))).toEqual([]);
    }
    expect(offers('socktrace --user ro')).toContain(userInfo().username);
    expect(offers('socktrace --comm pupp')).toContain('puppet');
    const hostile = '$(id)';
    const own = readFileSync('/proc/self/comm', 'utf8');
    writeFileSync('/proc/self/comm', hostile);
    try {
      const comms = offers('socktrace --comm ');
      expect(comms.length).toBeGreaterThan(1);
      expect(comms.filter((name) => !/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/.test(name))).toEqual([]);
    } finally {
      writeFileSync('/proc/self/comm', own);
    }
  });

  test('programs after "run --", and their files', () => {
    expect(offers('socktrace run -- socktrace-no-such-program')).toEqual([]);
    expect(offers(`socktrace run -- ${shell.name}`)).toContain(shell.name);
    expect(offers('socktrace run -- cat tr')).toEqual(['trace.ndjson.gz']);
  });
});

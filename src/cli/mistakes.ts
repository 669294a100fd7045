/** What commander refuses, in one line, with what was probably meant. */
import { statSync } from 'node:fs';
import type { Command, CommanderError, Option } from 'commander';
import { cgroupMount, findCgroups } from '../procfs/cgroup-tree.ts';
import { runningNames } from '../procfs/running-names.ts';
import { commandName } from './command-name.ts';
import { GROUPS } from './help.ts';
import { shellWord } from './shell-word.ts';
import { nearest } from './similar.ts';

/** The words behind the name of the program, and whose command they are for. */
export interface Typed {
  words: readonly string[];
  program: Command;
  command: Command;
}

/** What needs no name here. */
const NAMES_OF_TRACING = ['trace', 'watch', 'live'];

/** More processes of a name are not listed. */
const MOST_PIDS = 3;

/** What to tell the user instead of `error`. */
export function explainMistake(error: CommanderError, typed: Typed): string {
  switch (error.code) {
    case 'commander.unknownOption':
      return unknownOption(quoted(error.message), typed);
    case 'commander.excessArguments':
      return excessWord(typed);
    case 'commander.invalidArgument':
      return (
        withTwoDashes(typed) ??
        asRepeated(error.message, typed) ??
        `${withNearestChoice(wording(error.message))}${hintForValue(error.message, typed)}`
      );
    case 'commander.missingArgument':
      return `${wording(error.message)}: ${usageOf(typed.command)}`;
    default:
      return wording(error.message);
  }
}

/** Options that stand before the name of a command would be lost. */
export function misplacedOptions(program: Command, command: Command, words: readonly string[]): string | null {
  const given = program.options.find((option) => isGiven(program, option));
  if (given === undefined) return null;
  const at = words.indexOf(command.name());
  const moved = [command.name(), ...words.slice(0, at), ...words.slice(at + 1)];
  const flag = given.long ?? given.flags;
  return hasFlag(command, flag)
    ? `options come after the name of the command: did you mean "${lineOf(moved)}"?`
    : isForeign(command, flag, program);
}

/** What is between the first two quotes of commander's messages. */
function quoted(message: string): string {
  return /'([^']*)'/.exec(message)?.[1] ?? '';
}

function wording(message: string): string {
  const text = message.replace(/^error: /, '').replace(/\.$/, '');
  const [, flags, value, why] = /^option '([^']*)' argument '(.*)' is invalid\. (.*)$/s.exec(text) ?? [];
  if (flags !== undefined) return `${longOf(flags)} ${value}: ${why}`;
  const [, word, whose, allowed] =
    /^command-argument value '(.*)' is invalid for argument '(\w+)'\. (.*)$/s.exec(text) ?? [];
  if (word !== undefined) return `there is no ${whose} "${word}". ${allowed}`;
  const [, lacking] = /^option '([^']*)' argument missing$/.exec(text) ?? [];
  return lacking === undefined ? text : `${longOf(lacking)} needs a value: ${lacking}`;
}

/** commander's, behind what is wrong. */
const CHOICES = ' Allowed choices are ';

/** Instead of a list of all that could be said, the one that was meant. */
function withNearestChoice(text: string): string {
  const at = text.lastIndexOf(CHOICES);
  if (at < 0) return text;
  const problem = text.slice(0, at).replace(/[:.]$/, '');
  const given = problem.slice(problem.lastIndexOf(' ') + 1).replaceAll('"', '');
  const near = nearest(
    given,
    text
      .slice(at + CHOICES.length)
      .replace(/\.$/, '')
      .split(', '),
  );
  return near.length === 0 ? text : `${problem}: did you mean ${near.join(' or ')}?`;
}

function longOf(flags: string): string {
  return /--[\w-]+/.exec(flags)?.[0] ?? flags;
}

function unknownOption(flag: string, typed: Typed): string {
  const { command, program } = typed;
  // A word before it is what went wrong first.
  if (command === program && program.args[0]?.startsWith('-') === false) return excessWord(typed);
  const [name = flag] = flag.split('=');
  const problem = `there is no option ${flag}`;
  if (hasFlag(command, name.replace('--', '--no-')))
    return `${problem}: it is the default, and ${name.replace('--', '--no-')} switches it off`;
  const oneDash = withTwoDashes(typed);
  if (oneDash !== null) return oneDash;
  if (hasFlag(command, name)) return `${name} takes no value`;
  const near = nearest(name, flagsOf(command));
  // An exact name elsewhere says more than a similar one here.
  if (commandsWith(name, program).length > 0) return isForeign(command, name, program);
  return near.length === 0
    ? `${problem}; ${lineOf(helpOf(command))} lists them`
    : `${problem}: did you mean ${near.join(' or ')}?`;
}

function isForeign(command: Command, flag: string, program: Command): string {
  const owners = commandsWith(flag, program).map((one) => `"${pathOf(one)}"`);
  return `${flag} is an option of ${owners.join(', ')}, and not of "${pathOf(command)}"`;
}

/** `-pid 1234`, which is `-p id` to the parser. */
function withTwoDashes({ words, command }: Typed): string | null {
  const word = words.find((one) => /^-[a-z][a-z-]+$/.test(one) && hasFlag(command, `-${one}`));
  return word === undefined ? null : `there is no option ${word}: did you mean -${word}?`;
}

/** `--kind a,b`: what may be given again is given one by one. */
function asRepeated(message: string, { command }: Typed): string | null {
  const [flags, list] = optionAndValue(message);
  if (flags === undefined || list === undefined || !/<(?:pid|kind)>/.test(flags)) return null;
  const values = list.split(',').filter((value) => value !== '');
  if (values.length < 2) return null;
  const names =
    longOf(flags) === '--pid' && hasFlag(command, '--comm') && !values.every((value) => /^\d+$/.test(value));
  const each = values.map((value) => `${names ? '--comm' : longOf(flags)} ${shellWord(value)}`);
  return `${longOf(flags)} ${list}: each is given by itself; did you mean ${each.join(' ')}?`;
}

function optionAndValue(message: string): string[] {
  return [...message.matchAll(/'([^']*)'/g)].map(([, text]) => text ?? '');
}

function hintForValue(message: string, typed: Typed): string {
  const [flags, value] = optionAndValue(message);
  if (flags === undefined || value === undefined) return '';
  if (!flags.includes('<pid>') || /^\d+$/.test(value)) return '';
  if (longOf(flags) === '--pid' && hasFlag(typed.command, '--comm'))
    return `; did you mean --comm ${shellWord(value)}?`;
  const pids = pidsOf(value);
  const some = pids.slice(0, MOST_PIDS).map((pid) => `${longOf(flags)} ${pid}`);
  return some.length === 0 ? '' : `; ${value} is ${some.join(', ')}${pids.length > MOST_PIDS ? ', and more' : ''}`;
}

/** A word where no word belongs: at the root, people name what they want to see. */
function excessWord({ words, command, program }: Typed): string {
  const [word = ''] = command === program ? program.args : command.args.slice(command.registeredArguments.length);
  const at = words.indexOf(word);
  if (command !== program) {
    const isPid = /^\d+$/.test(word) && hasFlag(command, '--pid');
    const asPid = [...words.slice(0, at), '--pid', ...words.slice(at)];
    const instead = isPid ? `did you mean "${lineOf(asPid)}"?` : usageOf(command);
    return `"${pathOf(command)}" takes no "${word}": ${instead}`;
  }
  const instead = (...by: string[]): string => lineOf([...by, ...words.slice(0, at), ...words.slice(at + 1)]);
  const meant = (...by: string[]): string => `there is no command "${word}": did you mean "${instead(...by)}"?`;
  if (/^\d+$/.test(word)) return meant('--pid', word);
  const file = fileAs(word);
  if (file !== null) return meant(...file);
  const [near, ...others] = nearest(word, [...NAMES_OF_TRACING, ...program.commands.map((one) => one.name())]);
  if (near !== undefined && others.length === 0)
    return meant(...(NAMES_OF_TRACING.includes(near) ? unlessSelected(program) : [near]));
  if (pidsOf(word).length > 0) return meant('--comm', word);
  if (isCgroup(word)) return meant('--cgroup', word);
  return `there is no command, process, unit or file "${word}"; ${lineOf(['--help'])} shows what there is`;
}

/** What makes the bare command a trace. */
function unlessSelected(program: Command): string[] {
  const selects = program.options.some((one) => one.helpGroupHeading === GROUPS.which && isGiven(program, one));
  return selects ? [] : ['--pid', 'PID'];
}

/** How a file would be given. */
function fileAs(word: string): string[] | null {
  try {
    const about = statSync(word);
    if (!about.isFile()) return null;
    return (about.mode & 0o111) === 0 ? ['report', word] : ['run', '--', word];
  } catch {
    // Not there; a name that only a recording has says what was meant all the same.
    return /\.ndjson(\.gz)?$/.test(word) ? ['report', word] : null;
  }
}

function isCgroup(word: string): boolean {
  const mount = cgroupMount();
  return mount !== null && findCgroups(word, mount).length > 0;
}

/** The kernel keeps so much of a name: TASK_COMM_LEN. */
const LONGEST_COMM = 15;

/** Of processes by name. */
function pidsOf(name: string): number[] {
  const comm = name.slice(0, LONGEST_COMM);
  return runningNames().flatMap(([pid, running]) => (running === comm ? [pid] : []));
}

function lineOf(words: readonly string[]): string {
  return [commandName(), ...words.map(shellWord)].join(' ');
}

function usageOf(command: Command): string {
  return `${pathOf(command)} ${command.usage()}`;
}

/** `socktrace report` */
function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;
}

function helpOf(command: Command): string[] {
  return command.parent === null ? ['--help'] : [command.name(), '--help'];
}

function commandsWith(flag: string, program: Command): Command[] {
  return [program, ...program.commands].filter((one) => hasFlag(one, flag));
}

function hasFlag(command: Command, flag: string): boolean {
  return command.options.some(({ long, short }) => long === flag || short === flag);
}

function flagsOf({ options }: Command): string[] {
  return ['--help', ...options.flatMap(({ long }) => long ?? [])];
}

function isGiven(command: Command, option: Option): boolean {
  return command.getOptionValueSource(option.attributeName()) === 'cli';
}

/** Help pages: examples first, then options in groups, in 80 columns. */
import type { Argument, Command, Help, HelpConfiguration, Option } from 'commander';
import { commandName } from './command-name.ts';

export interface Example {
  line: string;
  why: string;
}

/** Headings of options, in the order of a page. */
export const GROUPS = {
  which: 'Which processes:',
  howLong: 'How long:',
  read: 'What is read:',
  output: 'Output:',
  verdict: 'What is a leak:',
  keep: 'What to keep:',
  expert: 'For experts:',
  other: 'Other:',
} as const;

const MOST_COLUMNS = 80;
/** Behind longer ones the explanation is on a line of its own. */
const LONGEST_BESIDE = 36;
const BELOW = ' '.repeat(6);

const examples = new WeakMap<Command, readonly Example[]>();

/** Gives a command the examples that its page begins with. */
export function withExamples(command: Command, list: readonly Example[]): Command {
  examples.set(command, list);
  return command;
}

export function examplesOf(command: Command): readonly Example[] {
  return examples.get(command) ?? [];
}

/** The layout of every page. */
export const HELP: HelpConfiguration = { formatHelp };

/** `socktrace help COMMAND` */
export function addHelp(program: Command): void {
  const command = program
    .command('help')
    .summary('the page of a command')
    .description('Shows the page of a command, as --help behind its name does.');
  const names = program.commands.map((one) => one.name());
  withExamples(command, [{ line: 'socktrace help record', why: 'the same as socktrace record --help' }])
    .addArgument(program.createArgument('[command]', 'of which command').choices(names))
    .action((name: string | undefined) => {
      (program.commands.find((one) => one.name() === name) ?? program).outputHelp();
    });
}

/** For commander's `getOutHelpWidth`. */
export function helpColumns(): number {
  return Math.min(MOST_COLUMNS, process.stdout.columns || MOST_COLUMNS);
}

function formatHelp(command: Command, helper: Help): string {
  const columns = helper.helpWidth ?? MOST_COLUMNS;
  const items = (heading: string, rows: readonly Row[]): string[] =>
    rows.length === 0 ? [] : [[heading, ...rowLines(rows, columns)].join('\n')];
  const options = helper.visibleOptions(command);
  const optionsOf = (heading: string): Row[] =>
    options
      .filter((option) => (option.helpGroupHeading ?? GROUPS.other) === heading)
      .map((option) => [option.flags, describe(option, option.required)]);
  const sections = [
    ...items(
      'Examples:',
      examplesOf(command).map(({ line, why }) => [line, why]),
    ),
    `Usage: ${helper.commandUsage(command)}`,
    wrapped(command.description(), columns).join('\n'),
    ...items(
      'Commands:',
      helper.visibleCommands(command).map((one) => [one.name(), one.summary()]),
    ),
    ...items(
      'Arguments:',
      helper.visibleArguments(command).map((argument) => [argument.name(), describe(argument, true)]),
    ),
    ...Object.values(GROUPS).flatMap((heading) => items(heading, optionsOf(heading))),
    ...(commandName() === 'socktrace' ? [] : [`socktrace is not on PATH here; type: ${commandName()}`]),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** What is typed, and what it does. */
type Row = readonly [string, string];

/** In two columns; what is too long for the first one has its explanation below. */
function rowLines(rows: readonly Row[], columns: number): string[] {
  const width = Math.max(0, ...rows.map(([term]) => term.length).filter((length) => length <= LONGEST_BESIDE));
  return rows.flatMap(([term, text]) => {
    if (term.length > width) return [`  ${term}`, ...wrapped(text, columns - BELOW.length).map((line) => BELOW + line)];
    const [first = '', ...others] = wrapped(text, columns - width - 4);
    return [`  ${term.padEnd(width)}  ${first}`, ...others.map((line) => ' '.repeat(width + 4) + line)];
  });
}

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}

/** What it does, and what holds without it. */
function describe(
  { description, argChoices, defaultValue, defaultValueDescription }: Option | Argument,
  takesValue: boolean,
): string {
  const choices = argChoices === undefined ? '' : `: ${argChoices.join(', ')}`;
  const byDefault = defaultValueDescription ?? defaultValue;
  return `${description}${choices}${takesValue && byDefault !== undefined ? ` (default: ${byDefault})` : ''}`;
}

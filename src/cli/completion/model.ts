/** What a shell may offer after each command, from the tree of commands. */
import type { Argument, Command, Option } from 'commander';

/** What stands for a value, by the word in the angle brackets of its option. */
export type Value =
  | { is: 'choices'; words: readonly string[] }
  | { is: 'files' | 'pids' | 'users' | 'comms' | 'programs' | 'text' };

export interface CompletedOption {
  short: string | null;
  long: string;
  description: string;
  /** null: a switch */
  value: Value | null;
}

export interface Completed {
  /** empty: no command */
  name: string;
  summary: string;
  options: readonly CompletedOption[];
  /** what its words are; null when it takes none */
  operand: Value | null;
}

const BY_PLACEHOLDER: Readonly<Record<string, Exclude<Value['is'], 'choices'>>> = {
  file: 'files',
  pid: 'pids',
  user: 'users',
  name: 'comms',
  command: 'programs',
};

/** The root first, then its commands. */
export function completedOf(program: Command): Completed[] {
  const help = program.createHelp();
  const commands = help.visibleCommands(program);
  const names = commands.map((command) => command.name());
  const complete = (command: Command): Completed => ({
    name: command === program ? '' : command.name(),
    summary: command.summary(),
    options: help.visibleOptions(command).map(completedOption),
    operand: operandOf(command, names),
  });
  return [program, ...commands].map(complete);
}

function completedOption({ short, long, flags, description, argChoices }: Option): CompletedOption {
  const placeholder = /<([^>]*)>/.exec(flags)?.[1];
  const value = placeholder === undefined ? null : valueFor(placeholder, argChoices);
  return { short: short ?? null, long: long ?? '', description, value };
}

function operandOf(command: Command, commands: readonly string[]): Value | null {
  if (command.parent === null) return { is: 'choices', words: commands };
  const [first]: readonly Argument[] = command.registeredArguments;
  return first === undefined ? null : valueFor(first.name(), first.argChoices);
}

function valueFor(placeholder: string, choices: readonly string[] | undefined): Value {
  return choices === undefined
    ? { is: BY_PLACEHOLDER[placeholder.replace(/\.+$/, '')] ?? 'text' }
    : { is: 'choices', words: choices };
}

/** The flags of an option as typed. */
export function flagsOf({ short, long }: CompletedOption): string[] {
  return short === null ? [long] : [short, long];
}

/** A word in single quotes, for bash and zsh. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

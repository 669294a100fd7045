/** Completion for fish, with what each word does beside it. */
import { type Completed, type CompletedOption, flagsOf, type Value } from './model.ts';

export function fishCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const named = commands.filter(({ name }) => name !== '');
  const taking = (root?.options ?? []).filter(({ value }) => value !== null).flatMap(flagsOf);
  return `# fish completion of socktrace, printed by: socktrace completion fish
function __socktrace_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l skips no
    for word in $words
        if test $skips = yes
            set skips no
            continue
        end
        switch $word
            case ${named.map(({ name }) => name).join(' ')}
                echo $word
                return
            case ${taking.join(' ')}
                set skips yes
        end
    end
end
function __socktrace_in
    set -l typed (__socktrace_command)
    test "$typed" = "$argv[1]"
end
function __socktrace_pids
    string match -r '^/proc/\\d+$' /proc/* | string replace /proc/ ''
end
# A process chooses its name: what is no plain word is left out.
function __socktrace_comms
    cat /proc/*/comm 2>/dev/null | string match -r '^[A-Za-z0-9_][A-Za-z0-9_.+-]*$' | sort -u
end
complete -c socktrace -f
${named.map(({ name, summary }) => line('', `-a ${name}`, summary)).join('\n')}
${commands.flatMap(commandLines).join('\n')}
`;
}

function commandLines({ name, options, operand }: Completed): string[] {
  const words = name === '' || operand === null ? [] : operandLines(name, operand);
  return [...words, ...options.map((option) => optionLine(name, option))];
}

function operandLines(name: string, operand: Value): string[] {
  switch (operand.is) {
    case 'text':
      return [];
    case 'files':
      return [line(name, '-F')];
    case 'programs':
      return [line(name, "-a '(__fish_complete_subcommand --fcs-skip=2)'")];
    default:
      return [line(name, `-a ${offered(operand)}`)];
  }
}

function optionLine(name: string, { short, long, description, value }: CompletedOption): string {
  const flags = `${short === null ? '' : `-s ${short.slice(1)} `}-l ${long.slice(2)}`;
  return line(name, `${flags}${value === null ? '' : valued(value)}`, description);
}

function valued(value: Value): string {
  switch (value.is) {
    case 'files':
      return ' -r -F';
    case 'text':
    case 'programs':
      return ' -x';
    default:
      return ` -x -a ${offered(value)}`;
  }
}

function offered(value: Value): string {
  switch (value.is) {
    case 'choices':
      return fishQuoted(value.words.join(' '));
    case 'pids':
      return "'(__socktrace_pids)'";
    case 'comms':
      return "'(__socktrace_comms)'";
    case 'users':
      return "'(__fish_complete_users)'";
    default:
      return "''";
  }
}

function line(command: string, what: string, description?: string): string {
  const about = description === undefined ? '' : ` -d ${fishQuoted(description)}`;
  return `complete -c socktrace -n ${fishQuoted(`__socktrace_in "${command}"`)} ${what}${about}`;
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

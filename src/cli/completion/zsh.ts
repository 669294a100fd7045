/** Completion for zsh, with what each word does beside it. */
import { type Completed, flagsOf, quoted, type Value } from './model.ts';

export function zshCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const named = commands.filter(({ name }) => name !== '');
  const taking = (root?.options ?? []).filter(({ value }) => value !== null).flatMap(flagsOf);
  const values = commands.flatMap(({ name, options }) =>
    options.flatMap((option) => (option.value === null ? [] : [valueCase(name, flagsOf(option), option.value)])),
  );
  const flags = commands.map(
    ({ name, options }) =>
      `      ${quoted(name)}) offered=(\n${options
        .flatMap((option) => flagsOf(option).map((flag) => `        ${described(flag, option.description)}`))
        .join('\n')}\n      ) ;;`,
  );
  const operands = named.map(({ name, operand }) => `    ${quoted(name)}) ${offer(operand)} ;;`);
  return `#compdef socktrace
# zsh completion of socktrace, printed by: socktrace completion zsh
_socktrace_pids() {
  local -a pids=(/proc/<->(N:t))
  compadd -a pids
}
# A process chooses its name: what is no plain word is left out.
_socktrace_comms() {
  local -aU names=(\${(f)"$(cat /proc/<->/comm(N) 2>/dev/null)"})
  names=(\${(M)names:#[A-Za-z0-9_]##[A-Za-z0-9_.+-]#})
  compadd -a names
}
_socktrace() {
  setopt localoptions extendedglob
  local cur=$words[CURRENT] prev=$words[CURRENT-1] command= after= i
  local -a offered
  if [[ $cur == --*=* ]]; then
    prev=\${cur%%=*}
    compset -P '*='
    cur=$PREFIX
  fi
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      ${named.map(({ name }) => name).join('|')}) [[ -z $command ]] && command=$words[i] ;;
      --) after=yes ;;
      ${taking.join('|')}) [[ -z $command ]] && ((i++)) ;;
    esac
  done
  if [[ -n $after && $prev != -- ]]; then _files; return; fi
  if [[ -z $after ]]; then
    case "$command $prev" in
${values.join('\n')}
    esac
    if [[ $cur == -* ]]; then
      case $command in
${flags.join('\n')}
      esac
      _describe -o option offered
      return
    fi
  fi
  case $command in
    '') offered=(
${named.map(({ name, summary }) => `        ${described(name, summary)}`).join('\n')}
      )
      _describe command offered ;;
${operands.join('\n')}
  esac
}
compdef _socktrace socktrace
`;
}

/** A colon ends the word. */
function described(word: string, description: string): string {
  return quoted(`${word.replaceAll(':', '\\:')}:${description}`);
}

function valueCase(command: string, flags: readonly string[], value: Value): string {
  return `      ${flags.map((flag) => quoted(`${command} ${flag}`)).join('|')}) ${offer(value)}; return ;;`;
}

function offer(value: Value | null): string {
  switch (value?.is) {
    case 'choices':
      return `compadd -- ${value.words.join(' ')}`;
    case 'files':
      return '_files';
    case 'pids':
      return '_socktrace_pids';
    case 'comms':
      return '_socktrace_comms';
    case 'users':
      return '_users';
    case 'programs':
      return '_command_names -e';
    case 'text':
    case undefined:
      return ':';
  }
}

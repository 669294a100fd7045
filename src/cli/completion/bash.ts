/** Completion for bash. Works with and without the package bash-completion. */
import { type Completed, flagsOf, quoted, type Value } from './model.ts';

export function bashCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const names = commands.flatMap(({ name }) => (name === '' ? [] : [name]));
  const taking = (root?.options ?? []).filter(({ value }) => value !== null).flatMap(flagsOf);
  const values = commands.flatMap(({ name, options }) =>
    options.flatMap((option) => (option.value === null ? [] : [valueCase(name, flagsOf(option), option.value)])),
  );
  const operands = commands.map(({ name, operand }) => `    ${quoted(name)}) ${offer(operand)} ;;`);
  const flags = commands.map(
    ({ name, options }) => `      ${quoted(name)}) _socktrace_offer ${options.flatMap(flagsOf).join(' ')} ;;`,
  );
  return `# bash completion of socktrace, printed by: socktrace completion bash
_socktrace_offer() {
  local word
  for word; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
}
_socktrace_pids() {
  local folder
  for folder in /proc/[0-9]*; do _socktrace_offer "\${folder#/proc/}"; done
}
# A process chooses its name: what a shell would not take for a plain word is left out.
_socktrace_comms() {
  local name
  while read -r name; do
    [[ $name =~ ^[A-Za-z0-9_][A-Za-z0-9_.+-]*$ ]] && _socktrace_offer "$name"
  done < <(cat /proc/[0-9]*/comm 2>/dev/null | sort -u)
}
_socktrace_compgen() {
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_socktrace_files() {
  compopt -o filenames 2>/dev/null
  _socktrace_compgen -f
}
_socktrace() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= after= i
  COMPREPLY=()
  # --option=value comes as three words.
  if [[ $cur == = ]]; then cur=
  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${names.join('|')}) [[ -z $command ]] && command=\${COMP_WORDS[i]} ;;
      --) after=yes ;;
      ${taking.join('|')}) if [[ -z $command ]]; then ((i++)); [[ \${COMP_WORDS[i]} == = ]] && ((i++)); fi ;;
    esac
  done
  if [[ $after && $prev != -- ]]; then _socktrace_files; return; fi
  if [[ -z $after ]]; then
    case "$command $prev" in
${values.join('\n')}
    esac
    if [[ $cur == -* ]]; then
      case $command in
${flags.join('\n')}
      esac
      return
    fi
  fi
  case $command in
${operands.join('\n')}
  esac
}
complete -F _socktrace socktrace
`;
}

function valueCase(command: string, flags: readonly string[], value: Value): string {
  return `      ${flags.map((flag) => quoted(`${command} ${flag}`)).join('|')}) ${offer(value)}; return ;;`;
}

function offer(value: Value | null): string {
  switch (value?.is) {
    case 'choices':
      return `_socktrace_offer ${value.words.join(' ')}`;
    case 'files':
      return '_socktrace_files';
    case 'pids':
      return '_socktrace_pids';
    case 'comms':
      return '_socktrace_comms';
    case 'users':
      return '_socktrace_compgen -u';
    case 'programs':
      return '_socktrace_compgen -c';
    case 'text':
    case undefined:
      return ':';
  }
}

// Asks real shells what they would offer for a line, with the completion that socktrace printed for them.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What is offered where the line ends. */
export type Offers = (line: string) => string[];

export interface Shell {
  name: 'bash' | 'zsh' | 'fish';
  /** for a script in this folder */
  open(script: string, folder: string): Offers;
}

export function isInstalled({ name }: Shell): boolean {
  return spawnSync(name, ['--version']).status === 0;
}

function run(command: string, args: readonly string[], folder: string): string {
  // No locale and no settings of whoever runs this.
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder, TERM: 'xterm', LC_ALL: 'C.UTF-8' };
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', cwd: folder, env, timeout: 60_000 });
  if (status !== 0 || stderr !== '') throw new Error(`${command} ended with ${status}: ${stderr}${stdout}`);
  return stdout;
}

const sorted = (text: string): string[] => [...new Set(text.split('\n').filter((word) => word !== ''))].sort();

/** As readline does: words split at blanks and at "=", and the function that `complete` has registered. */
const BASH = `source "$1"; shift
[[ $(complete -p socktrace) =~ -F\\ ([^ ]+) ]] || exit 9
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"\${BASH_REMATCH[1]}" socktrace
printf '%s\\n' "\${COMPREPLY[@]}"`;

const bash: Shell = {
  name: 'bash',
  open: (script, folder) => (line) => {
    const words = line.split(/ +|(?==)|(?<==)/);
    return sorted(run('bash', ['--norc', '--noprofile', '-c', BASH, 'bash', script, ...words], folder));
  },
};

const fish: Shell = {
  name: 'fish',
  open: (script, folder) => (line) => {
    const ask = 'source $argv[1]; complete -C $argv[2]';
    return sorted(run('fish', ['--no-config', '-c', ask, script, line], folder).replaceAll(/\t.*$/gm, ''));
  },
};

/** In the terminal's zsh: what the completion adds goes to a file, too. */
const ZSH_INSIDE = `PS1= PROMPT_EOL_MARK=
autoload -Uz compinit && compinit -D -u
source $SCRIPT
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi
  local -a hits
  builtin compadd -A hits "$@"
  print -rl -- $hits >> $OFFERED
  builtin compadd "$@"
}
capture() {
  _main_complete
  compstate[insert]= compstate[list]=
  print -n 'CAPT''URED'
}
zle -C capture complete-word capture
bindkey '^I' capture
print 'REA''DY'
`;
/** Around it: types the line and the tab, and waits for the answer. */
const ZSH_OUTSIDE = `zmodload zsh/zpty
zpty inner env SCRIPT=$1 OFFERED=$2 zsh -f -i
zpty -w inner "source $3"
zpty -r -m inner seen '*READY*'
zpty -w -n inner "$4"$'\\t'
zpty -r -m inner seen '*CAPTURED*'
zpty -d inner`;

const zsh: Shell = {
  name: 'zsh',
  open(script, folder) {
    const [inside, offered] = [join(folder, 'inside.zsh'), join(folder, 'offered')];
    writeFileSync(inside, ZSH_INSIDE);
    return (line) => {
      writeFileSync(offered, '');
      run('zsh', ['-f', '-c', ZSH_OUTSIDE, 'zsh', script, offered, inside, line], folder);
      return sorted(readFileSync(offered, 'utf8'));
    };
  },
};

export const SHELLS: readonly Shell[] = [bash, zsh, fish];

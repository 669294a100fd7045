/** `socktrace completion SHELL`: a script for the shell, made from the tree of commands. */
import { Argument, type Command } from 'commander';
import { bashCompletion } from './completion/bash.ts';
import { fishCompletion } from './completion/fish.ts';
import { type Completed, completedOf } from './completion/model.ts';
import { zshCompletion } from './completion/zsh.ts';
import { withExamples } from './help.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;
type Shell = keyof typeof SHELLS;

const EXAMPLES = [
  { line: 'source <(socktrace completion bash)', why: 'in ~/.bashrc' },
  { line: 'source <(socktrace completion zsh)', why: 'in ~/.zshrc, after compinit' },
  { line: 'socktrace completion fish | source', why: 'in ~/.config/fish/config.fish' },
] as const;

export function addCompletion(program: Command): void {
  const command = program
    .command('completion')
    .summary('a script by which a shell completes all this')
    .description('Prints a script by which a shell completes commands, options, pids, users and files.');
  withExamples(command, EXAMPLES)
    .addArgument(new Argument('<shell>', 'of which shell').choices(Object.keys(SHELLS)))
    .action((shell: Shell) => {
      process.stdout.write(completionFor(shell, completedOf(program)));
    });
}

/** The script. */
export function completionFor(shell: Shell, commands: readonly Completed[]): string {
  return SHELLS[shell](commands);
}

// The command lines of the README and of the help pages, as somebody would copy them.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { examplesOf } from '../../src/cli/help.ts';

const README = new URL('../../README.md', import.meta.url);
/** As a whole line of a block, or between backticks. A version is what socktrace prints, not what is typed. */
const COMMAND = /^(?:\$ )?((?:sudo )?(?:source <\()?(?:socktrace|npm)(?: (?!\d).*)?)$/;

/** Comments behind a line say what it is for. */
function commandIn(text: string): string[] {
  const line = COMMAND.exec(text.trim().replace(/ {2,}# .*$/, ''))?.[1];
  return line === undefined ? [] : [line];
}

/** Each once. */
export function readmeLines(): string[] {
  const text = readFileSync(README, 'utf8');
  const blocks = /^```\n(.*?)^```$|^ {4}[^\n]*$/gms;
  const inBlocks = [...text.matchAll(blocks)].flatMap(([block]) => block.split('\n').flatMap(commandIn));
  const inline = [...text.replaceAll(blocks, '').matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => commandIn(code ?? ''));
  return [...new Set([...inBlocks, ...inline])];
}

export function helpLines(program: Command): string[] {
  return [program, ...program.commands].flatMap((command) => examplesOf(command).map(({ line }) => line));
}

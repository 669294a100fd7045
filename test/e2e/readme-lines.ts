// The command lines of the README, of the pages in docs/ and of the help pages, as somebody would copy them.
import { readdirSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { examplesOf } from '../../src/cli/help.ts';

const ROOT = new URL('../../', import.meta.url);
/** As a whole line of a block, or between backticks. A version is what socktrace prints, not what is typed. */
const COMMAND = /^(?:\$ )?((?:sudo )?(?:source <\()?(?:socktrace|npm)(?: (?!\d).*)?)$/;

/** Comments behind a line say what it is for. */
function commandIn(text: string): string[] {
  const line = COMMAND.exec(text.trim().replace(/ {2,}# .*$/, ''))?.[1];
  return line === undefined ? [] : [line];
}

/** The README and what it leads to, by their paths in the checkout. */
export function pages(): string[] {
  const docs = readdirSync(new URL('docs', ROOT)).filter((name) => name.endsWith('.md'));
  return ['README.md', ...docs.map((name) => `docs/${name}`)];
}

/** Each once. */
export function readmeLines(): string[] {
  return [...new Set(pages().flatMap(linesOf))];
}

function linesOf(page: string): string[] {
  const text = readFileSync(new URL(page, ROOT), 'utf8');
  const blocks = /^```\n(.*?)^```$|^ {4}[^\n]*$/gms;
  const inBlocks = [...text.matchAll(blocks)].flatMap(([block]) => block.split('\n').flatMap(commandIn));
  const inline = [...text.replaceAll(blocks, '').matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => commandIn(code ?? ''));
  return [...inBlocks, ...inline];
}

export function helpLines(program: Command): string[] {
  return [program, ...program.commands].flatMap((command) => examplesOf(command).map(({ line }) => line));
}

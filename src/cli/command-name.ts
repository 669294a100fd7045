/** What somebody types to run socktrace again, for the advice that it prints: a command that works here. */
import { accessSync, constants, realpathSync } from 'node:fs';
import { basename, delimiter, isAbsolute, join, relative } from 'node:path';
import { shellWord } from './shell-word.ts';

/** Where a program was started, and what a shell would find there. */
export interface Surroundings {
  /** the file that runs */
  main: string;
  /** the Node that runs it */
  node: string;
  /** PATH */
  path: string;
  /** where the user is */
  folder: string;
}

/** `socktrace` where a shell finds it, else `node` and the file. */
export function commandNameIn({ main, node, path, folder }: Surroundings): string {
  const found = findProgram('socktrace', path);
  // Of two checkouts the other one may be linked: it would do something else.
  if (found !== null && (found === main || basename(found) !== basename(main))) return 'socktrace';
  const within = relative(folder, main);
  const file = within.startsWith('..') || isAbsolute(within) ? main : within;
  return `${findProgram('node', path) === node ? 'node' : shellWord(node)} ${shellWord(file)}`;
}

let known: string | null = null;

/** Of this process. */
export function commandName(): string {
  known ??= commandNameIn({
    main: real(process.argv[1] ?? '') ?? '',
    node: real(process.execPath) ?? process.execPath,
    path: process.env['PATH'] ?? '',
    // npm goes to the folder of the package, and says where the user was.
    folder: real(process.env['INIT_CWD'] ?? process.cwd()) ?? '/',
  });
  return known;
}

/** The file behind a name on PATH, links followed. */
function findProgram(name: string, path: string): string | null {
  for (const folder of path.split(delimiter).filter((one) => one !== '')) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
    } catch {
      continue;
    }
    return real(file);
  }
  return null;
}

function real(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

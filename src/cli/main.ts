#!/usr/bin/env node
/** Where it starts: the rest is loaded from here, so that a limit of open files too low for that can be told. */
try {
  await import('./command-line.ts');
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
  process.stderr.write('socktrace: more files are needed than may be open (RLIMIT_NOFILE): ulimit -n 1024\n');
  // 3, cannot trace; of run itself, as it is documented: exit-codes.ts may be what could not be loaded.
  process.exitCode = process.argv[2] === 'run' ? 125 : 3;
}

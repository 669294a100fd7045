/** What the guests run, and how their results are read. */

const everything = [
  'test/kernels/guest/kinds.test.ts',
  'test/host/holders.test.ts',
  'test/host/selection.test.ts',
  'test/host/failures.test.ts',
  'test/host/call-paths.test.ts',
  'test/host/incident.test.ts',
  'test/host/healthy.test.ts',
  'test/host/storms.test.ts',
];

/** One family in most files: the guests are slow, and both are in kinds. */
const oneFamily = '^(?!v6)';

/** Of call paths what differs from hook set to hook set: the captures. */
const capturesOnly = '^paths (of the open and of the bind|of an accept)';

/**
 * What `npm test` runs on the machine itself only, by file: it is about processes, names, files or our own process, which
 * kernels have in common, or another test of its kind stays. `npm run test:kernels` runs it in the guests, too.
 */
export const machineOnly = {
  'test/host/holders.test.ts': [
    'passed over a unix socket to a process that is not traced, and away',
    'dup: one socket, two descriptors',
    'children are left alone with --no-follow',
    'a child that existed before the trace',
    'threads belong to their process',
    '5,000 idle sockets from before the trace',
    'killed with connections that the peer had ended: the ports are those it held then',
    'what a healthy process still had open when it exited is no leak',
    'pid reuse: the same number later is another process',
    'a process that ended before the hooks were on is said to be gone, and nothing stays attached',
  ],
  'test/host/selection.test.ts': [
    'takes processes of exactly that name, with what they hold already',
    'takes a name that follows a longer one',
    'with --no-follow takes a child by its own name only',
    'by unit: what is in it or below, and what moves in',
    'by unit without .service: what is in it or below, and what moves in',
    'by the first digits of a container id',
    'what any of them matches is taken, and pids beside',
    'a selection that nothing matches yet goes on, and reports nothing',
  ],
  'test/host/privileges.test.ts': [
    'a trace of another user without bpf: refused, and named',
    'a trace of another user without perfmon: refused, and named',
    'a trace of another user without net_admin: refused, and named',
    'a trace of another user with sys_admin: they are',
    'a look without perfmon: refused, and named',
  ],
  'test/host/call-paths.test.ts': [
    'of threads end in the thread, not in main',
    'that no cache can hold are cut where they are too long, and say so',
    'of a child that has exited by now are those of the code it shared with its parent',
    'of a child that is older than the trace',
    'through a library that took the place of another one have its name, once that is known',
    'through such a library, by a process that opens few: its mappings are read again all the same',
    'in any number are counted to the last socket: what was not sampled is a sum of its own',
    'killed again and again: each time counted, and no socket is missing',
    'is not there: everything else is',
    'has its paths all the same',
  ],
};

const hostFiles = (...names) => names.map((name) => `test/host/${name}.test.ts`);
const kinds = 'test/kernels/guest/kinds.test.ts';
const lockdown = { boot: 'lockdown=confidentiality', append: 'lsm=lockdown lockdown=confidentiality' };

/**
 * The guests of a kernel, the longest first: one for each boot and hook set, with the files to test there; `append` is for
 * the command line of the kernel.
 */
export const labGuests = [
  {
    boot: 'plain',
    append: '',
    hooks: 'fentry',
    // The census uses no hooks: once is enough.
    files: [
      ...everything,
      'test/kernels/guest/census.test.ts',
      'test/kernels/guest/machine.test.ts',
      ...hostFiles('privileges', 'hook-sets'),
    ],
    pattern: oneFamily,
  },
  // The whole of it is tried on the machine itself, where there is nothing else.
  {
    boot: 'plain',
    append: '',
    hooks: 'cgroup',
    files: [kinds, ...hostFiles('failures', 'call-paths', 'healthy')],
    pattern: `${oneFamily}(?!the unwinder |a program |paths )|${capturesOnly}`,
  },
  // A look uses no hooks.
  {
    boot: 'plain',
    append: '',
    hooks: 'kprobe',
    files: [kinds, ...hostFiles('healthy', 'privileges')],
    pattern: `${oneFamily}(?!a look )`,
  },
  {
    ...lockdown,
    hooks: 'fentry',
    files: [kinds, ...hostFiles('call-paths', 'hook-sets')],
    pattern: `^(?!the unwinder |a program |paths )|${capturesOnly}`,
  },
  // It takes no errnos there.
  { ...lockdown, hooks: 'cgroup', files: ['test/kernels/guest/lockdown.test.ts'], pattern: '' },
];

const literally = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Matches the tests that `pattern` does, but not those that are for the machine itself only. */
export function ciPattern(pattern) {
  const names = Object.values(machineOnly).flat().map(literally);
  return `^(?!.*(?:${names.join('|')})$)(?:${pattern})`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A wrong answer is waited for until patience ends, so a broken build must not go through all tests. */
const mostFailures = 5;

/** The shell script of one guest. It leaves a line of JSON on the second serial port, and how vitest ended. */
export function planOf({ hooks, files, pattern }) {
  const vitest =
    `node node_modules/vitest/vitest.mjs run --project guest --bail ${mostFailures} ` +
    '--reporter=verbose --reporter=json';
  return [
    `echo "hook set ${hooks}"`,
    `SOCKTRACE_HOOKS=${hooks} SOCKTRACE_PATIENCE=8 ${vitest} --outputFile.json=/tmp/result.json ` +
      `${pattern === '' ? '' : `-t ${quoted(pattern)} `}${files.join(' ')}`,
    'code=$?',
    '{ cat /tmp/result.json; echo; echo "vitest exited with $code"; } > /dev/ttyS1',
  ].join('\n');
}

/**
 * Tests of one guest: [{file, name, failure: null or its message, notRun: null or why}]. What was left out by a pattern is
 * not among them; what should have run and did not is a failure.
 * @param files of each of which there must be a result
 */
export function readResults(text, files = []) {
  const [json, ...rest] = text.split('\n');
  let report;
  try {
    report = JSON.parse(json);
  } catch {
    return [];
  }
  const tests = report.testResults.flatMap(resultsOfFile);
  const failed = (file, name, failure) => ({ file, name, failure, notRun: null });
  for (const file of files.map(shortName))
    if (!tests.some((test) => test.file === file)) tests.push(failed(file, 'the file', 'none of its tests was run'));
  // A worker that crashed, or an error outside of all tests, fails none of them.
  const exit = /^vitest exited with (\d+)\r?$/m.exec(rest.join('\n'))?.[1];
  if (exit !== '0' && tests.every(({ failure }) => failure === null))
    tests.push(failed('vitest', 'its end', `exited with ${exit ?? 'nothing said'}, though no test failed`));
  return tests;
}

const shortName = (path) => path.replace(/^(?:.*\/)?test\//, '').replace(/\.test\.ts$/, '');

function resultsOfFile({ name, status, message, assertionResults }) {
  const file = shortName(name);
  const tests = assertionResults
    .filter(({ status, meta }) => status !== 'skipped' || meta?.notRun !== undefined)
    .map((test) => ({
      file,
      name: test.fullName,
      failure: failureOf(test),
      notRun: test.meta?.notRun ?? null,
    }));
  // A file that broke before any of its tests failed hides what it holds.
  const broken = status === 'failed' && tests.every(({ failure }) => failure === null);
  return broken ? [...tests, { file, name: 'the file', failure: message || 'could not be run', notRun: null }] : tests;
}

function failureOf({ status, failureMessages, meta }) {
  if (status === 'passed' || meta?.notRun !== undefined) return null;
  return status === 'failed' ? failureMessages.join('\n') : `never came to its end: ${status}`;
}

/** Lines by which a kernel says that something is wrong with it. */
export function warningsOf(dmesg) {
  const serious = /\bWARNING\b|\bBUG\b|\bOops\b|Call Trace|rcu_.*stall|Kernel panic/;
  return dmesg.split('\n').filter((line) => serious.test(line));
}

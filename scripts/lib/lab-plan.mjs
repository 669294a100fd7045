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

/** For each boot of a kernel: the hook sets to test there and with which files; `append` is for its command line. */
export const labBoots = [
  {
    boot: 'plain',
    append: '',
    runs: [
      // The census uses no hooks: once is enough.
      {
        hooks: 'fentry',
        files: [
          ...everything,
          'test/kernels/guest/census.test.ts',
          'test/kernels/guest/machine.test.ts',
          'test/host/privileges.test.ts',
          'test/host/hook-sets.test.ts',
        ],
        pattern: oneFamily,
      },
      // The whole of it is tried on the machine itself, where there is nothing else.
      {
        hooks: 'cgroup',
        files: ['kernels/guest/kinds', 'host/failures', 'host/call-paths', 'host/healthy'].map(
          (file) => `test/${file}.test.ts`,
        ),
        pattern: `${oneFamily}(?!the unwinder |a program |paths )|${capturesOnly}`,
      },
      {
        hooks: 'kprobe',
        files: ['kernels/guest/kinds', 'host/healthy', 'host/privileges'].map((file) => `test/${file}.test.ts`),
        pattern: oneFamily,
      },
    ],
  },
  {
    boot: 'lockdown=confidentiality',
    append: 'lsm=lockdown lockdown=confidentiality',
    runs: [
      {
        hooks: 'fentry',
        files: ['kernels/guest/kinds', 'host/call-paths', 'host/hook-sets'].map((file) => `test/${file}.test.ts`),
        pattern: `^(?!the unwinder |a program |paths )|${capturesOnly}`,
      },
      // It takes no errnos there.
      { hooks: 'cgroup', files: ['test/kernels/guest/lockdown.test.ts'], pattern: '' },
    ],
  },
];

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A wrong answer is waited for until patience ends, so a broken build must not go through all tests. */
const mostFailures = 5;

/** The shell script of one boot. Each run leaves one line of JSON on the second serial port. */
export function planOf(runs) {
  const vitest =
    `node node_modules/vitest/vitest.mjs run --project guest --bail ${mostFailures} ` +
    '--reporter=verbose --reporter=json';
  return runs
    .map(({ hooks, files, pattern }) =>
      [
        `echo "hook set ${hooks}"`,
        'rm -f /tmp/result.json',
        `SOCKTRACE_HOOKS=${hooks} SOCKTRACE_PATIENCE=4 ${vitest} --outputFile.json=/tmp/result.json ` +
          `${pattern === '' ? '' : `-t ${quoted(pattern)} `}${files.join(' ')}`,
        `{ echo -n "${hooks} "; cat /tmp/result.json; echo; } > /dev/ttyS1`,
      ].join('\n'),
    )
    .join('\n');
}

/**
 * Tests of one guest: [{hooks, file, name, failure: null or its message, notRun: null or why}]. What is not readable or
 * was left out by a pattern is not among them.
 */
export function readResults(text) {
  return text.split('\n').flatMap((line) => {
    const space = line.indexOf(' ');
    let report;
    try {
      report = JSON.parse(line.slice(space + 1));
    } catch {
      return [];
    }
    const hooks = line.slice(0, space);
    return report.testResults.flatMap((file) => resultsOfFile(hooks, file));
  });
}

function resultsOfFile(hooks, { name, status, message, assertionResults }) {
  const file = name.replace(/^.*\/test\//, '').replace(/\.test\.ts$/, '');
  const tests = assertionResults
    .filter(({ status, meta }) => status === 'passed' || status === 'failed' || meta?.notRun !== undefined)
    .map((test) => ({
      hooks,
      file,
      name: test.fullName,
      failure: test.status === 'failed' ? test.failureMessages.join('\n') : null,
      notRun: test.meta?.notRun ?? null,
    }));
  // A file that broke before any of its tests failed hides what it holds.
  const broken = status === 'failed' && tests.every(({ failure }) => failure === null);
  return broken
    ? [...tests, { hooks, file, name: 'the file', failure: message || 'could not be run', notRun: null }]
    : tests;
}

/** Lines by which a kernel says that something is wrong with it. */
export function warningsOf(dmesg) {
  const serious = /\bWARNING\b|\bBUG\b|\bOops\b|Call Trace|rcu_.*stall|Kernel panic/;
  return dmesg.split('\n').filter((line) => serious.test(line));
}

/** The counts of a vitest run from its JSON report. */
import { readFileSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { root } from './run.mjs';

/** A file that failed before any of its tests ran (an import error) counts as one failure: it hides what it holds. */
const isBrokenFile = (file) =>
  file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed');

/** `suites` are the folders of test/ in which a test ran. Without a readable report, that is one failure. */
export function readVitestResult(path, exitCode) {
  let report;
  try {
    report = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, suites: new Set(), problem: 'vitest ended without a result' };
  }
  const broken = report.testResults.filter(isBrokenFile).length;
  const counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken,
    skipped: report.numPendingTests + report.numTodoTests,
    suites: new Set(report.testResults.map((file) => relative(root, file.name).split(sep)[1])),
    problem: broken > 0 ? `test files that could not be run: ${broken}` : null,
  };
  if (exitCode === 0 || counts.failed > 0) return counts;
  // For example an unhandled rejection outside of any test, or no test at all.
  return { ...counts, failed: 1, problem: `vitest ended with exit code ${exitCode} although no test failed` };
}

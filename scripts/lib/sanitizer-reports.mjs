/** What the reports of the sanitizers say of this project's code. */

/** The addon, and the libraries that only it uses. */
const ours = /socktrace|libbpf\.so|libelf|libdw|native\/.*\.(cc|h):/;
const onPurpose = 'leaked_on_purpose';

export const canaryIn = (report) => report.includes(onPurpose);

/**
 * Everything but leaks, and of the leaks those whose allocation went through our code. Node ends without freeing what the
 * system is about to take back (V8's heap, its builtin modules): hundreds of leaks, none of them ours.
 */
export function findingsOf(report) {
  if (!report.includes('LeakSanitizer')) return report.trim() === '' ? [] : [report];
  return report
    .split(/\n\n+/)
    .filter((part) => /^(Direct|Indirect) leak of/.test(part))
    .filter((leak) => ours.test(leak) && !leak.includes(onPurpose));
}

/** What a run concludes. */
import { formatCount } from './format-count.ts';
import { HARMLESS_LOSSES, LOSS_CODES, type Loss, type Verdict } from './types.ts';

/** What a verdict needs of a finding. */
export interface Judged {
  key: string;
  kind: string;
  count: number;
  leak: boolean;
  /** would be a leak if its sockets were old enough */
  undecided: boolean;
  /** they may be older than they are known to be */
  oldestIsLowerBound: boolean;
  /** whose sockets they are, for a reader */
  of: string;
}

/**
 * A leak that was found is a leak, whatever else was lost. Without one, "no leak" may be said only when nothing that
 * could hide a leak was lost, and nothing is left that time alone would make one.
 * @param blindness sentences on what could not be observed at all, e.g. that no counters were read
 */
export function decideVerdict(
  findings: readonly Judged[],
  losses: readonly Loss[],
  blindness: readonly string[] = [],
): Verdict {
  const leaks = findings.filter(({ leak }) => leak).map(({ key }) => key);
  if (leaks.length > 0) return { is: 'leak', findings: leaks };
  const because = [
    ...losses
      .filter(({ code, count }) => count > 0 && !HARMLESS_LOSSES.includes(code))
      .map(({ code, count }) => `${formatCount(count)} ${LOSS_CODES[code]}`),
    ...blindness,
    ...findings
      .filter(({ undecided }) => undecided)
      .map(
        ({ count, kind, of, oldestIsLowerBound }) =>
          `${formatCount(count)} ${kind} sockets of ${of} that are ${oldestIsLowerBound ? 'not known to be old enough' : 'too young to tell'}: a leak, or none`,
      ),
  ];
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
}

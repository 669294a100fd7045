/** What a run concludes. */
import { HARMLESS_LOSSES, LOSS_CODES, type Loss, type Verdict } from './types.ts';

/**
 * A leak that was found is a leak, whatever else was lost. Without one, "no leak" may be said only when nothing that
 * could hide a leak was lost.
 * @param blindness sentences on what could not be observed at all, e.g. that no counters were read
 */
export function decideVerdict(
  findings: readonly { key: string; leak: boolean }[],
  losses: readonly Loss[],
  blindness: readonly string[] = [],
): Verdict {
  const leaks = findings.filter(({ leak }) => leak).map(({ key }) => key);
  if (leaks.length > 0) return { is: 'leak', findings: leaks };
  const because = [
    ...losses
      .filter(({ code, count }) => count > 0 && !HARMLESS_LOSSES.includes(code))
      .map(({ code, count }) => `${count} ${LOSS_CODES[code]}`),
    ...blindness,
  ];
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
}

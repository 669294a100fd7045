/** Which findings of two reports of one session are the same. */
import type { Finding } from '../report/types.ts';

/** One for each, unique; as far as can be told the same for a finding in every report of a session. */
export function identitiesOf(findings: readonly Finding[]): string[] {
  const seen = new Map<string, number>();
  return findings.map((finding) => {
    const identity = identify(finding);
    const times = (seen.get(identity) ?? 0) + 1;
    seen.set(identity, times);
    return times === 1 ? identity : `${identity}#${times}`;
  });
}

/** Without the number that the key ends in: it depends on the order of each report. */
function identify({ key, process, count, heldAtExit }: Finding): string {
  const who = process.status === 'measured' ? process.value : '';
  return `${key.replace(/#\d+$/, '')}|${who}|${heldAtExit === count}`;
}

/** The figures of `ss -s` for the network namespace that this process is in. */
import { type ClosedParts, partsOfClosed, type SsSummary, summarize } from '../accounting/ss-summary.ts';
import type { Known } from '../ledger/types.ts';
import { PROC_ROOT, readLink, readText } from '../procfs/read.ts';
import type { Report } from '../report/types.ts';

const LONGEST_TEXT = 64 * 1024;

/** @param report tells what is in use in the other namespaces of the host */
export function readSsSummary(report: Report): Known<{ summary: SsSummary; closed: ClosedParts }> {
  const net = `${PROC_ROOT}/self/net`;
  const [sockstat, sockstat6, snmp] = ['sockstat', 'sockstat6', 'snmp'].map((name) =>
    readText(`${net}/${name}`, LONGEST_TEXT),
  );
  if (sockstat?.status !== 'measured') return sockstat ?? { status: 'unavailable', reason: '' };
  const six = sockstat6?.status === 'measured' ? sockstat6.value : '';
  const summary = summarize(sockstat.value, six, snmp?.status === 'measured' ? snmp.value : '');
  if (summary.status === 'unavailable') return summary;
  return {
    status: 'measured',
    value: { summary: summary.value, closed: partsOfClosed(summary.value, inuseElsewhere(report)) },
  };
}

function inuseElsewhere({ ports }: Report): number {
  const own = readLink(`${PROC_ROOT}/self/ns/net`);
  if (ports.status === 'unavailable' || own.status === 'unavailable') return 0;
  return ports.value
    .filter(({ netns }) => own.value !== `net:[${netns}]`)
    .reduce((sum, { inuse }) => sum + (inuse.status === 'measured' ? inuse.value : 0), 0);
}

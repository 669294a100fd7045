/** One finding in full: what it is, the call paths, some of its sockets, and who holds them. */
import type { Finding } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { countOf, formatCount, formatRate } from '../numbers.ts';
import { DOUBTFUL_LEGEND } from '../text/call-path.ts';
import { ageText, describeExample, unconfirmedText } from '../text/findings.ts';
import { KIND_CLAUSE, KIND_MEANING } from '../words.ts';
import { type Line, plain, toned } from './line.ts';
import type { LiveReport } from './live-report.ts';
import { wrap } from './width.ts';

const INDENT = '  ';
/** Of the text of a call path, below its label. */
const PATH_INDENT = ' '.repeat(15);

/** As many lines as it takes, each within `width`. */
export function detailLines(finding: Finding, live: LiveReport, width: number): Line[] {
  const { names, paths, report } = live;
  const { kind, errno, count, ports, perMinute, heldAtExit, process } = finding;
  const title = `${countOf(count, 'socket')} ${KIND_CLAUSE[kind]}${errno === null ? '' : ` (${errno})`}`;
  const owner = process.status === 'measured' ? names.ofOwners(finding) : escapeText(process.reason);
  const facts = [
    `oldest ${ageText(finding)}`,
    `growth ${formatRate(perMinute)}`,
    countOf(ports, 'port'),
    ...(heldAtExit > 0 ? [`${formatCount(heldAtExit)} held when the process exited`] : []),
  ];
  const { callPaths } = report;
  const pathTexts =
    callPaths.status === 'measured' ? paths.linesOf(finding) : [`not known: ${escapeText(callPaths.reason)}`];
  return [
    ...wrap(title, width).map((line) => toned(finding.leak ? 'red' : 'bold', line)),
    ...wrapped([`opened by ${owner}`, facts.join(', '), KIND_MEANING[kind]], width, INDENT),
    ...section(
      'CALL PATHS',
      [...pathTexts, ...(paths.hasDoubtful([finding]) ? [DOUBTFUL_LEGEND] : [])],
      width,
      PATH_INDENT,
    ),
    ...section('SOCKETS', socketTexts(finding, live), width, INDENT),
    ...section('HOLDERS', holderTexts(finding, live), width, INDENT),
  ];
}

function section(title: string, texts: readonly string[], width: number, indent: string): Line[] {
  return [
    plain(''),
    toned('bold', title),
    ...wrapped(
      texts.map((text) => `${INDENT}${text}`),
      width,
      indent,
    ),
  ];
}

function wrapped(texts: readonly string[], width: number, indent: string): Line[] {
  return texts.flatMap((text) => wrap(text, width, indent).map(plain));
}

function socketTexts({ examples, count }: Finding, { names }: LiveReport): string[] {
  const more = count - examples.length;
  return [
    ...examples.map((example) => describeExample(example, names)),
    ...(more > 0 ? [`and ${formatCount(more)} more: these are the oldest`] : []),
  ];
}

function holderTexts({ holders, unconfirmed, heldAtExit, count }: Finding, { names }: LiveReport): string[] {
  if (holders.length === 0)
    return [heldAtExit === count ? 'none: the process has exited' : 'no descriptor was seen yet'];
  return [
    ...holders.map((holder) => `${formatCount(holder.count).padStart(7)}  ${names.of(holder.process)}`),
    ...(unconfirmed === undefined ? [] : [unconfirmedText(unconfirmed)]),
  ];
}

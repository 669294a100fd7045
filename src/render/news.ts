/** Findings as lines of a log: when they appear, become a leak, or have doubled. */
import type { Finding, Report } from '../report/types.ts';
import { formatDuration } from './duration.ts';
import { identitiesOf } from './finding-identity.ts';
import { ProcessNames } from './names.ts';
import { countOf, formatCount, formatRate } from './numbers.ts';
import { CallPathTexts } from './text/call-path.ts';

/** of one report; of those beyond only the number is told */
const MOST_LINES = 5;
const GROWN = 2;

interface Told {
  count: number;
  leak: boolean;
}

interface News {
  finding: Finding;
  before: Told | undefined;
}

/** Remembers what it has told. */
export class FindingNews {
  #told = new Map<string, Told>();

  /** What is new since the last report, worst first. What others named is escaped. */
  linesOf(report: Report): string[] {
    const news = this.#newsOf(report);
    if (news.length === 0) return [];
    const names = new ProcessNames(report);
    const paths = new CallPathTexts(report);
    const at = formatDuration(report.window.durationMs);
    const more = news.length - MOST_LINES;
    return [
      ...news.slice(0, MOST_LINES).map((one) => `${at}  ${lineOf(one, names, paths)}`),
      ...(more > 0 ? [`${at}  and ${countOf(more, 'more finding')} that appeared or grew`] : []),
    ];
  }

  #newsOf({ findings }: Report): News[] {
    const identities = identitiesOf(findings);
    const told = new Map<string, Told>();
    const news = findings.flatMap((finding, i): News[] => {
      const { kind, count, leak } = finding;
      if (kind === 'released') return [];
      const identity = identities[i] ?? '';
      const before = this.#told.get(identity);
      const isNew = before === undefined || (leak && !before.leak) || count >= GROWN * before.count;
      told.set(identity, isNew ? { count, leak } : before);
      return isNew ? [{ finding, before }] : [];
    });
    this.#told = told;
    return news;
  }
}

/** `LEAK     148 bind-failed EADDRINUSE (12 before), +475/min, leaky-service[21447] at acquire_port (leak.c:41)`. */
function lineOf({ finding, before }: News, names: ProcessNames, paths: CallPathTexts): string {
  const { kind, count, errno, ports, leak, perMinute, openPath } = finding;
  const place = paths.placeOf(openPath);
  const facts = [
    `${formatCount(count)} ${kind}${errno === null ? '' : ` ${errno}`}${before === undefined ? '' : ` (${formatCount(before.count)} before)`}`,
    ...(ports > 0 ? [countOf(ports, 'port')] : []),
    ...(perMinute === null ? [] : [formatRate(perMinute)]),
    `${names.ofOwners(finding)}${place === null ? '' : ` at ${place}`}`,
  ];
  return `${leak ? 'LEAK   ' : 'suspect'}  ${facts.join(', ')}`;
}

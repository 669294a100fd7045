/** What to type next about a recording: its processes are of another time, and perhaps of another host. */
import type { Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { longerWatch } from './longer-watch.ts';

export interface Step {
  command: string;
  why: string;
}

/** The recordings that a report is of. */
export interface Recorded {
  /** as words of a shell; none where that is not known, as in a page */
  files: readonly string[];
}

export function stepsForRecording(report: Report, { files }: Recorded): Step[] {
  const [file] = files;
  if (file === undefined) return watchAgain(report);
  const all = files.join(' ');
  const page = `${
    file
      .replace(/^'|'$/g, '')
      .replace(/^.*\//s, '')
      .replace(/\.ndjson(?:\.gz)?$/, '') || 'leak'
  }.html`;
  const hasPaths = report.findings.some(({ openPath }) => openPath.status === 'resolved');
  const diff = files.length === 1 ? `${file} AFTER` : all;
  const changes = 'which findings are new, have grown, or are gone';
  return [
    {
      command: `socktrace report ${all} --format html -o ${/^\w[\w.@%+=:,-]*$/.test(page) ? page : 'leak.html'}`,
      why: 'since when, and from where: a page for a browser',
    },
    ...(hasPaths
      ? [{ command: `socktrace report ${all} --format folded`, why: 'who opened them, as stacks for flamegraph.pl' }]
      : []),
    ...(files.length <= 2 && report.verdict.is === 'leak'
      ? [
          {
            command: `socktrace report --diff ${diff}`,
            why: files.length === 1 ? `once a recording AFTER the fix is made: ${changes}` : changes,
          },
        ]
      : []),
    ...watchAgain(report),
  ];
}

/** By name, since a process of then has another pid by now. Names are the processes' own: one that a shell may read. */
function watchAgain(report: Report): Step[] {
  const longer = report.sources === undefined ? longerWatch(report) : null;
  if (longer === null) return [];
  const traced = report.processes.find(({ id }) => report.target.processes.includes(id));
  const name = /^\w[\w.+-]*$/.test(traced?.comm ?? '') ? `--comm ${traced?.comm}` : '--pid PID';
  return [
    {
      command: `socktrace record ${name} --duration ${longer.minutes}m -o again.ndjson`,
      why: `on ${escapeText(report.host.hostname)}: ${longer.why}`,
    },
  ];
}

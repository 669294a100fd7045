/** Failed calls within the chosen window, and who suffers from a shortage of ports. */
import { escapeText } from '../../escape.ts';
import { FailingProcesses } from '../../failing-processes.ts';
import { countOf, formatCount } from '../../numbers.ts';
import { CallPathTexts } from '../../text/call-path.ts';
import { victimTest } from '../../text/failures.ts';
import { CAUSE_MEANING } from '../../words.ts';
import { failuresIn, type WindowedFailure } from '../windowed.ts';
import { el, section } from './dom.ts';
import { DataTable } from './table.ts';
import type { View } from './view.ts';

export function failuresSection(view: View): HTMLElement {
  const { report } = view;
  const isVictim = victimTest(report);
  const failing = new FailingProcesses(report);
  const paths = new CallPathTexts(report);
  const suffers = ({ reported }: WindowedFailure): boolean => reported.some(isVictim);
  const table = new DataTable<WindowedFailure>({
    label: 'Failed calls',
    columns: [
      {
        title: '',
        cell: (row) => (suffers(row) ? el('span', { class: 'badge victim' }, 'VICTIM') : ''),
        sortBy: (row) => Number(suffers(row)),
      },
      { title: 'Calls', align: 'right', cell: ({ count }) => formatCount(count), sortBy: ({ count }) => count },
      { title: 'Call', cell: ({ operation }) => `${operation}()`, sortBy: ({ operation }) => operation },
      { title: 'Errno', cell: ({ errno }) => errno, sortBy: ({ errno }) => errno },
      { title: 'Program', cell: (row) => who(row, failing), sortBy: ({ comm }) => comm },
      { title: 'Cause', cell: ({ cause }) => CAUSE_MEANING[cause], sortBy: ({ cause }) => cause },
      { title: 'Where', cell: (row) => el('code', {}, place(row, paths)), sortBy: (row) => place(row, paths) },
    ],
    keyOf: ({ comm, operation, errno, cause }) => `${operation}|${errno}|${cause}|${comm}`,
    textOf: (row) =>
      `${who(row, failing)} ${row.operation} ${row.errno} ${CAUSE_MEANING[row.cause]} ${place(row, paths)}`,
    classOf: (row) => (suffers(row) ? 'victim' : ''),
    empty: 'none in this window',
  });
  const search = el('input', {
    type: 'search',
    id: 'search-failures',
    placeholder: 'program, errno',
    'aria-label': 'Search failed calls',
  });
  search.addEventListener('input', () => table.filter(search.value, () => true));
  const summary = el('p', { class: 'hint', 'aria-live': 'polite' });
  const update = (): void => {
    const rows = failuresIn(report, view.timeline, view.window);
    const calls = rows.reduce((sum, { count }) => sum + count, 0);
    const victims = rows.filter(suffers);
    const lost = victims.reduce((sum, { count }) => sum + count, 0);
    summary.textContent = `${countOf(calls, 'failed call')} in this window; ${
      victims.length === 0
        ? 'no victim of a port shortage'
        : `${countOf(lost, 'call')} of ${countOf(victims.length, 'program')} found no free port`
    }.`;
    table.update([...victims, ...rows.filter((row) => !suffers(row))]);
  };
  view.onChange(update);
  update();
  return section(
    'failures',
    'Victims and failed calls',
    ...(report.failures.status === 'unavailable'
      ? [el('p', { class: 'hint' }, `not known: ${escapeText(report.failures.reason)}`)]
      : [el('div', { class: 'controls' }, search), summary, table.element]),
  );
}

/** The timeline tells programs apart; which processes they were is known for the whole. */
function who({ comm, reported }: WindowedFailure, failing: FailingProcesses): string {
  const [first, ...others] = reported;
  if (first === undefined) return escapeText(comm);
  const processes = reported.reduce((sum, failure) => sum + failure.processes, 0);
  const mark = failing.mark(first);
  // Some elsewhere, some not: no namespace is that of all.
  const same = others.every((failure) => failing.mark(failure) === mark);
  return `${failing.nameOf({ ...first, processes })}${same ? mark : ' (several netns)'}`;
}

function place({ paths }: WindowedFailure, texts: CallPathTexts): string {
  for (const { path } of paths) {
    const text = texts.placeOf(path);
    if (text !== null) return text;
  }
  return '';
}

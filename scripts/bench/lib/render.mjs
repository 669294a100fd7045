/** The rows of all benchmarks as a table: for a terminal, and as GitHub's markdown. */

const scales = {
  ns: [
    [1, 'ns'],
    [1e3, 'µs'],
    [1e6, 'ms'],
    [1e9, 's'],
  ],
  share: [[0.01, '%']],
  times: [[1, 'times']],
  bytes: [
    [1, 'B'],
    [1e3, 'kB'],
    [1e6, 'MB'],
    [1e9, 'GB'],
  ],
  'lines/s': [
    [1, 'lines/s'],
    [1e3, 'k lines/s'],
  ],
  count: [[1, '']],
};

/** Three digits say all that such a measurement knows. */
function digits(number) {
  const size = Math.abs(number);
  return number.toFixed(Number.isInteger(number) || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

const scaleOf = (unit, value) => scales[unit].findLast(([one]) => Math.abs(value) >= one) ?? scales[unit][0];

function amount(unit, value) {
  const [one, name] = scaleOf(unit, value);
  return `${digits(value / one)} ${name}`.trimEnd();
}

const words = { 'not-run': 'NOT RUN', disturbed: 'NOT MEASURED', failed: 'FAILED' };

/** All numbers in the scale of the value. */
function showSummary({ unit, value, min, max, count }) {
  const [one, name] = scaleOf(unit, value);
  const spread = count > 1 ? ` (${digits(min / one)}..${digits(max / one)})` : '';
  return `${digits(value / one)}${spread} ${name}`.trimEnd();
}

const isMeasured = ({ status }) => status === 'measured';

function showBeside({ name, measured }) {
  return `${name}: ${isMeasured(measured) ? showSummary(measured) : `${words[measured.status]}: ${measured.reason}`}`;
}

function showBudget(budget) {
  if (budget === null) return '';
  const { bound, unit, limit, at } = budget;
  return `${bound} ${amount(unit, limit)}${at === null ? '' : `, at ${at}`}`;
}

function showHolds({ budget, holds }) {
  if (budget === null) return '';
  return holds === null ? 'not judged' : holds ? 'yes' : 'NO';
}

const header = ['what', 'measured', 'budget', 'holds', 'beside it'];

/** Each cell a list of lines. Why nothing was measured goes into the last one, which may be long. */
function cellsOf(row) {
  const [figure, why] = isMeasured(row.measured)
    ? [showSummary(row.measured), []]
    : [words[row.measured.status], [`because: ${row.measured.reason}`]];
  const cells = [row.what, figure, showBudget(row.budget), showHolds(row)];
  return [...cells.map((cell) => [cell]), [...why, ...row.beside.map(showBeside)]];
}

/** Lines of cells, each column as wide as its widest. */
function renderColumns(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}

/** What was measured, where, and with what effort: without it no number can be compared. */
function preface({ host, quick, seconds }) {
  const load = host.load >= 0.5 ? `; NOT QUIET: a load of ${host.load.toFixed(1)} when it began` : '';
  return [
    `socktrace ${host.version}, hook set ${host.hooks ?? 'unknown'}; Linux ${host.kernel}, ${host.cpus} x ${host.cpu}; ${host.pinning}${load}`,
    `Medians (and ranges) of rounds; shares of a core are those of the whole time. ${quick ? 'Quick: few rounds, and less of everything; ' : ''}${Math.round(seconds)} s in all.`,
  ];
}

/** "7 budgets hold, 1 does not, 2 were not judged" */
function verdict(rows) {
  const count = (holds) => rows.filter((row) => row.budget !== null && row.holds === holds).length;
  return `budgets: ${count(true)} hold, ${count(false)} do not, ${count(null)} were not judged`;
}

export function renderText(result) {
  const lines = result.rows.flatMap((row) => {
    const cells = cellsOf(row);
    const height = Math.max(...cells.map((cell) => cell.length));
    return Array.from({ length: height }, (_, line) => cells.map((cell) => cell[line] ?? ''));
  });
  return [...preface(result), '', ...renderColumns([header, ...lines]), '', verdict(result.rows)].join('\n');
}

export function renderMarkdown(result) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const escaped = (text) => text.replace(/[|<>\\`*_[\]]/g, '\\$&');
  const rows = result.rows.map((row) => line(cellsOf(row).map((cell) => cell.map(escaped).join('<br>'))));
  const table = [line(header), line(header.map(() => '---')), ...rows];
  return [...preface(result).map(escaped), '', ...table, '', verdict(result.rows)].join('\n');
}

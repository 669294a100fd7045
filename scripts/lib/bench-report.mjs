/** What the rounds of the benchmark amount to: medians of ratios made within a round, the table, the budgets. */

/** `{count, min, median, max}`, or null of nothing. */
export function summarize(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { count: sorted.length, min: sorted[0], median, max: sorted.at(-1) };
}

/**
 * `rounds`: one `{condition: {workload: ns}}` each, with null for a slice that was disturbed. A round's conditions were
 * measured within seconds of each other, so every difference and ratio is made within a round first, of what it has.
 */
export function compare(rounds, workload, conditions) {
  const over = (needed, value) => {
    const known = rounds.map((round) => needed.map((condition) => round[condition][workload]));
    return summarize(known.filter((costs) => !costs.includes(null)).map((costs) => value(...costs)));
  };
  const entries = conditions.map((condition) => [
    condition,
    {
      ns: over([condition], (cost) => cost),
      addedNs: over([condition, 'bare'], (cost, bare) => cost - bare),
      toBare: over([condition, 'bare'], (cost, bare) => cost / bare),
      addedToFloors: over([condition, 'bare', 'floor'], (cost, bare, floor) => (cost - bare) / (floor - bare)),
    },
  ]);
  return Object.fromEntries(entries);
}

const ns = (value) => value.toFixed(0);
const ratio = (value) => value.toFixed(2);
const fine = (value) => value.toFixed(3);

function range(summary, show) {
  if (summary === null) return 'not measured';
  const { min, median, max } = summary;
  return `${show(median)} (${show(min)}..${show(max)})`;
}

export function renderTable(results) {
  const header = ['workload', 'condition', 'ns a cycle', 'added ns', 'to bare', "added / floor's added", 'rounds'];
  const rows = Object.entries(results).flatMap(([workload, conditions]) =>
    Object.entries(conditions).map(([condition, { ns: cycle, addedNs, toBare, addedToFloors }]) => {
      const cells = [workload, condition, range(cycle, ns)];
      if (condition === 'bare') return [...cells, '', '', '', String(cycle?.count ?? 0)];
      const rounds = String(addedToFloors?.count ?? 0);
      return [...cells, range(addedNs, ns), range(toBare, fine), range(addedToFloors, ratio), rounds];
    }),
  );
  return renderColumns(header, rows);
}

/** Lines of cells, each column as wide as its widest. */
export function renderColumns(header, rows) {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column].length)));
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function addedByPaths(conditions, on, off, unit) {
  const [with_, without] = [conditions[on].addedNs, conditions[off].addedNs];
  return with_ && without ? (with_.median - without.median) / unit : null;
}

function addedShare(conditions, one, other) {
  const [part, whole] = [conditions[one].addedNs, conditions[other]?.addedNs];
  return part && whole ? part.median / whole.median : null;
}

/** Each budget of the design that this measures, with what was measured. A budget is a claim about medians. */
export function judge({ results, attachMs, steady }) {
  const budgets = [
    {
      what: "socket()+close(): what tracing adds, to what the floor's hooks add (call paths off)",
      limit: 1.5,
      measured: results.openclose['no paths'].addedToFloors?.median ?? null,
    },
    {
      what: 'socket()+bind()+close(): what call paths add for each of two stacks that the cache knows, in us',
      limit: 1,
      measured: addedByPaths(results.bind, 'traced', 'no paths', 2_000),
    },
    {
      what: 'socket()+bind()+close(): what socktrace adds with call paths, to what strace -f -k -e trace=%net adds',
      limit: 1 / 30,
      measured: addedShare(results.bind, 'traced', 'strace -k'),
    },
    {
      what: 'connect/accept/close of an untraced process beside a traced one, to bare',
      limit: 1.03,
      measured: results.connect.beside.toBare?.median ?? null,
    },
    { what: 'start to attached, in seconds', limit: 0.5, measured: attachMs.median / 1000 },
    {
      what: `CPU of the tracer, in cores, at ${Math.round(steady.socketsPerSecond)} healthy sockets/s (budget: at 100000)`,
      limit: 0.02,
      measured: steady.tracerCores,
    },
  ];
  return budgets.map((budget) => ({
    ...budget,
    holds: budget.measured === null ? null : budget.measured <= budget.limit,
  }));
}

export function renderBudgets(budgets) {
  return budgets
    .map(({ what, limit, measured, holds }) => {
      if (holds === null) return `${'not measured'.padEnd(14)} ${what}`;
      const verdict = holds ? 'holds' : 'DOES NOT HOLD';
      return `${verdict.padEnd(14)} ${what}: ${fine(measured)}, at most ${limit}`;
    })
    .join('\n');
}

/**
 * A row of the benchmark's table: `{what, measured, budget, holds, beside}`.
 *
 *     measured   {status: 'measured', unit, value, min, max, count}
 *                {status: 'not-run', reason}     it cannot be run here
 *                {status: 'disturbed', reason}   it was run, and no figure of it means anything
 *                {status: 'failed', reason}
 *     budget     {bound: 'at most' | 'at least', unit, limit, at} or null
 *     holds      whether it does; null when there is no budget, nothing was measured, or not at what the budget is for
 *     beside     [{name, measured}]: the same of what else there is
 *
 * Units: ns, share (of a core, or of what it is slower than), times, bytes, lines/s, count.
 */
import { summarize } from './statistics.mjs';

export const notRun = (reason) => ({ status: 'not-run', reason });
export const failed = (reason) => ({ status: 'failed', reason });

/** `summary` as statistics.mjs makes it, null when all was disturbed. */
export function measured(unit, summary) {
  if (summary !== null) return { status: 'measured', unit, ...summary };
  return { status: 'disturbed', reason: 'disturbed each time, by another tracer or other work' };
}

export const once = (unit, value) => measured(unit, summarize([value]));

/** `at`: what the budget is for, when what is measured is less: it is shown, and not judged. */
export const atMost = (unit, limit, at = null) => ({ bound: 'at most', unit, limit, at });
export const atLeast = (unit, limit, at = null) => ({ bound: 'at least', unit, limit, at });

/** A budget is a claim about the typical value. */
export function judge(result, budget) {
  if (budget === null || budget.at !== null || result.status !== 'measured') return null;
  return budget.bound === 'at most' ? result.value <= budget.limit : result.value >= budget.limit;
}

/** `beside`: `[name, measured]` each. */
export function row(what, result, { budget = null, beside = [] } = {}) {
  return {
    what,
    measured: result,
    budget,
    holds: judge(result, budget),
    beside: beside.map(([name, its]) => ({ name, measured: its })),
  };
}

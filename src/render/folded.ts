/** Folded stacks, as flamegraph.pl, inferno and speedscope read them: `program;main;open_port 41`. */
import { compareText } from '../ledger/order.ts';
import type { Report } from '../report/types.ts';
import { namesOf, type StackValue, stacksOf } from './stacks.ts';

/** One line for each stack that has any of `value`, the greatest first. */
export function renderFolded(report: Report, value: StackValue): string {
  const counts = new Map<string, number>();
  for (const stack of stacksOf(report)) {
    const count = stack.values[value];
    if (count === 0) continue;
    // What separates frames must be in none.
    const text = namesOf(stack)
      .map((name) => name.replaceAll(';', ':'))
      .join(';');
    counts.set(text, (counts.get(text) ?? 0) + count);
  }
  return [...counts]
    .sort(([textA, a], [textB, b]) => b - a || compareText(textA, textB))
    .map(([text, count]) => `${text} ${count}\n`)
    .join('');
}

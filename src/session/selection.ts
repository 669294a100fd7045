/** By what processes are traced besides those that were named by pid. */
import type { Selector, SelectorType } from '../kernel/binding.ts';
import type { TargetSelector } from '../ledger/types.ts';

export interface Selection {
  /** for the report */
  asked: readonly TargetSelector[];
  /** every process of the host, except this one */
  all: boolean;
  /** those that `now` may give */
  types: readonly SelectorType[];
  /** what to match by at this moment; asked for again and again, since a cgroup may be made anew */
  now(): Selector[];
}

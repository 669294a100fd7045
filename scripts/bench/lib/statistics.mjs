/** What many measurements amount to. The value is the typical one; the others say how far it can be trusted. */

/** `{value, min, max, count}`, the value being the median; null of nothing. */
export function summarize(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const value = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return { value, min: sorted[0], max: sorted.at(-1), count: sorted.length };
}

/**
 * The same of `{amount, over}` each, the value being all amounts over all they were spent in: of what comes in bursts,
 * as a walk of all descriptors does, the median would leave out the bursts.
 */
export function share(parts) {
  const sum = (of) => parts.reduce((total, part) => total + of(part), 0);
  const spread = summarize(parts.map(({ amount, over }) => amount / over));
  return spread && { ...spread, value: sum(({ amount }) => amount) / sum(({ over }) => over) };
}

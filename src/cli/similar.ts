/** Of names the one that was probably meant. */

/** Edits that a mistyped name may have. */
const MOST_EDITS = 3;

/** The nearest of `names`: those that begin with the word, else those with the fewest edits. */
export function nearest(word: string, names: readonly string[]): string[] {
  const wanted = word.toLowerCase();
  const begun = names.filter((name) => wanted.length > 3 && name.startsWith(wanted));
  if (begun.length > 0) return begun;
  const ranked = names
    .map((name) => ({ name, edits: editsBetween(wanted, name) }))
    // More than half of it wrong is another word.
    .filter(({ name, edits }) => edits <= MOST_EDITS && 2 * edits < bare(name).length);
  const fewest = Math.min(...ranked.map(({ edits }) => edits));
  return ranked.filter(({ edits }) => edits === fewest).map(({ name }) => name);
}

function bare(name: string): string {
  return name.replace(/^--(no-)?/, '');
}

/** Insertions, deletions, substitutions and transpositions of neighbours. */
export function editsBetween(a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const differs = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? i) + 1 : Number.MAX_SAFE_INTEGER;
      row.push(Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + differs, swapped));
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? a.length;
}

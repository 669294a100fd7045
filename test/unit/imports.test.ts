import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** Every file of src/ that this one needs, itself included. */
function neededBy(url: URL, found = new Set<string>()): Set<string> {
  if (found.has(url.href)) return found;
  found.add(url.href);
  const text = readFileSync(fileURLToPath(url), 'utf8');
  // Types are gone when it runs.
  for (const [, path] of text.matchAll(/^(?:import|export)(?! type)[^;]*? from '(\.[^']+)';/gms))
    neededBy(new URL(path as string, url), found);
  return found;
}

it('a report of a recording needs no addon, and nothing of a kernel or of /proc', () => {
  const needed = [...neededBy(new URL('../../src/cli/report.ts', import.meta.url))];
  expect(needed.length).toBeGreaterThan(30);
  expect(needed.filter((path) => /\/src\/(?:kernel|session|procfs)\//.test(path))).toEqual([]);
});

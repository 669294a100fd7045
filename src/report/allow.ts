/**
 * Findings that are expected. A pattern is text that occurs in what a finding is known by; `*` stands for any text, `^`
 * at the start and `$` at the end tie it to the ends, as in the suppressions of LeakSanitizer.
 */
import type { Ledger } from '../ledger/ledger.ts';
import type { Finding } from './types.ts';

type Known = Pick<Ledger, 'process' | 'callPaths'>;

/** The findings, with those that a pattern allows marked so and no leak any more. */
export function withAllowances(findings: readonly Finding[], patterns: readonly string[], ledger: Known): Finding[] {
  if (patterns.length === 0) return [...findings];
  return findings.map((finding) => {
    if (!finding.leak && !finding.undecided) return finding;
    const texts = textsOf(finding, ledger);
    const allowed = patterns.find((pattern) => texts.some((text) => matches(pattern, text)));
    return allowed === undefined ? finding : { ...finding, leak: false, undecided: false, allowed };
  });
}

/** Patterns that match no finding at all, leak or not: what they were for has been mended, or has another name now. */
export function unusedAllowances(findings: readonly Finding[], patterns: readonly string[], ledger: Known): string[] {
  const texts = findings.flatMap((finding) => textsOf(finding, ledger));
  return patterns.filter((pattern) => !texts.some((text) => matches(pattern, text)));
}

/** Key, program (comm, executable), and the functions, files and modules of the call paths. */
function textsOf({ key, process, openPath, bindPath }: Finding, ledger: Known): string[] {
  const texts = [key];
  const owner = process.status === 'measured' ? ledger.process(process.value)?.facts : undefined;
  if (owner !== undefined) texts.push(owner.comm);
  if (owner?.exe.status === 'measured') texts.push(owner.exe.value);
  for (const ref of [openPath, bindPath]) {
    if (ref?.status !== 'resolved') continue;
    for (const frame of ledger.callPaths.get(ref.id)?.frames ?? [])
      texts.push(...[frame.function, frame.file, frame.module].flatMap((text) => text ?? []));
  }
  return texts;
}

/** Exported for its test. Linear in the text for each part of the pattern, whatever others have put in the text. */
export function matches(pattern: string, text: string): boolean {
  const fromStart = pattern.startsWith('^');
  const toEnd = pattern.length > 1 && pattern.endsWith('$');
  const parts = pattern.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined).split('*');
  const last = parts.length - 1;
  let at = 0;
  for (const [i, part] of parts.entries()) {
    if (i === last && toEnd) {
      const begin = text.length - part.length;
      return begin >= at && text.endsWith(part) && (i > 0 || !fromStart || begin === 0);
    }
    const found = text.indexOf(part, at);
    if (found < 0 || (i === 0 && fromStart && found !== 0)) return false;
    at = found + part.length;
  }
  return true;
}

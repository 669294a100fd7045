/** Words as a shell reads them back. */
import { escapeText } from '../render/escape.ts';

/** A word that a shell takes as it stands. */
export function shellWord(word: string): string {
  return /^[\w./@%+=:,-]+$/.test(word) ? word : `'${escapeText(word).replaceAll("'", "'\\''")}'`;
}

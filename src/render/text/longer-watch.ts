/** Whether a trace should have gone on for longer. */
import type { Report } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';

/** How long to watch, and why; null where a longer time would tell nothing more. */
export function longerWatch({ findings, verdict, window }: Report): { minutes: number; why: string } | null {
  if (verdict.is === 'leak') return null;
  // Those kinds are judged by how long no byte has moved.
  const idleOnly =
    findings.length > 0 && findings.every(({ kind }) => kind === 'close-wait' || kind === 'disconnected');
  const neededMs = window.minAgeMs + (idleOnly ? window.idleLeakAgeMs : window.leakAgeMs);
  if (window.durationMs >= neededMs && findings.length === 0 && verdict.is === 'no-leak') return null;
  const minutes = Math.max(5, Math.ceil((2 * window.durationMs) / 60_000), Math.ceil((2 * neededMs) / 60_000));
  const why =
    window.durationMs < neededMs
      ? `a leak shows after ${formatDuration(neededMs)} at the earliest`
      : 'watch whether the suspects grow';
  const missed = verdict.is === 'not-known' && findings.length === 0 && window.durationMs >= neededMs;
  return { minutes, why: missed ? 'again: this run missed something' : why };
}

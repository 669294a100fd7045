import type { Thresholds } from './types.ts';

/** The ages and counts that apply when nobody asks for others. */
export const DEFAULT_THRESHOLDS: Readonly<Thresholds> = {
  minAgeMs: 5_000,
  leakAgeMs: 30_000,
  idleLeakAgeMs: 60_000,
  leakCount: 10,
};

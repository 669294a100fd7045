// Tests that this kernel gives nothing to test: skipped by name, never passed.
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import type { TestContext } from 'vitest';
import type { Tracing } from './tracing.ts';

/** The kernel lab reads it from the test's result: there, a test left out by a pattern is skipped too. */
export interface NotRunMeta {
  notRun?: string;
}

/** Ends a test that cannot be run here, and says why. */
export function notRun(context: TestContext, reason: string): never {
  Object.assign(context.task.meta, { notRun: reason } satisfies NotRunMeta);
  return context.skip(`NOT RUN: ${reason}`);
}

export function requireMptcp(context: TestContext): void {
  if (!existsSync('/proc/sys/net/mptcp')) notRun(context, 'this kernel has no MPTCP');
}

export function requireSocketCalls(context: TestContext, { session }: Tracing): void {
  const { blindSpots } = session.report().host.hooks;
  if (blindSpots.some((what) => what.startsWith('socket() calls that fail')))
    notRun(context, 'failed socket() calls are not seen here');
}

/** Programs are protected against recursion, and skipped for it, since 5.12; nothing but the version tells. */
export function requireSkippedPrograms(context: TestContext): void {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 12)) notRun(context, 'this kernel skips no programs (before 5.12)');
}

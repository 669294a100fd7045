/** The row protocol (bpf/PROTOCOL.md): bpf/table.bpf.h, compiled for user space, with its steps interleaved. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const SOURCE = join(ROOT, 'test/protocol/interleave.c');
const PROGRAM = join(process.env['SOCKTRACE_BUILD_DIR'] ?? join(ROOT, 'build'), 'protocol-interleave');
const TIMEOUT_MS = 60_000;

interface Outcome {
  runs: number;
  violations: number;
  firstSeed: number | null;
  message: string | null;
  [covered: string]: number | string | null;
}

/** What must have come up, or the absence of violations says nothing. */
const COVERED = [
  'claims',
  'abortedCopies',
  'failedEmissions',
  'destroyedAfterClaim',
  'reuseDuringCopy',
  'parks',
  'tombstones',
  'staleReplaced',
  'insertFailures',
  'deleteFailures',
  'heldAtExitUnsent',
  'liveSent',
  'endsSent',
  'earlySends',
] as const;

/** One broken rule each. */
const MUTANTS: readonly [flag: string, rule: string][] = [
  ['NO_SETTLE', 'a row is sent as soon as it has changed'],
  ['VERSION_FIRST', 'a hook writes the version before the facts'],
  ['OLDER_VERSION_SENT', 'a version that ran backwards is sent as it is'],
  ['SENT_IS_NEWEST', 'the sweep claims the version that it finds after the copy'],
  ['NO_RECHECK', 'the version is not looked at again after the copy'],
  ['CHECK_BEFORE_CLAIM', 'the sweep looks for a destroy before it writes sent_ns'],
  ['ONLY_DESTROYED_CHECKED', 'the sweep looks at `destroyed` alone after the claim'],
  ['NO_LOOKUP_BEFORE', 'a copy may begin while another socket is being written into the element'],
  ['NO_LOOKUP_AFTER', 'a copy may end while another socket is being written into the element'],
  ['NO_UNCLAIM', 'a claim is kept though its emission failed'],
  ['SENT_READ_FIRST', 'the destroy reads sent_ns before it sets destroyed'],
  ['NO_PARK', 'the destroy deletes without parking'],
  ['UNSENT_NOT_PARKED', 'what was held at exit is parked only when it was sent'],
  ['NO_TOMBSTONE', 'a row whose parking was refused is deleted'],
  ['STALE_NOT_ENDED', 'an open replaces a stale row without ending it'],
  ['DRAIN_UNCHECKED', 'the drain trusts an entry that was replaced while it was copied'],
];

/** The program exits with 1 when it found a violation; its answer is on standard output either way. */
async function interleave(program: string, ...options: string[]): Promise<Outcome> {
  const { stdout } = await run(program, options).catch((error: { code?: unknown; stdout?: string }) => {
    if (error.code === 1 && error.stdout) return { stdout: error.stdout };
    throw error;
  });
  return JSON.parse(stdout) as Outcome;
}

describe('the row protocol', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'socktrace-protocol-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function compile(name: string, ...flags: string[]): Promise<string> {
    const program = join(folder, name);
    await run(process.env['CC'] ?? 'cc', ['-std=c11', '-O1', ...flags, '-o', program, SOURCE]);
    return program;
  }

  it(
    'tells the reader the truth in every interleaving tried',
    async () => {
      const program = existsSync(PROGRAM) ? PROGRAM : await compile('protocol-interleave');
      const outcome = await interleave(program, '--runs', '50000');
      // On a failure: build/protocol-interleave --seed <firstSeed> --runs 1
      expect(outcome).toMatchObject({ runs: 50_000, violations: 0, firstSeed: null, message: null });
      expect(COVERED.filter((name) => !(Number(outcome[name]) > 0))).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'is the same in the copies that mutants are made of',
    async () => {
      const [original, copies] = await Promise.all([
        compile('original').then((program) => interleave(program, '--runs', '2000')),
        compile('copies', '-DMUTATE_CLAIM', '-DMUTATE_END').then((program) => interleave(program, '--runs', '2000')),
      ]);
      expect(copies).toEqual(original);
    },
    TIMEOUT_MS,
  );

  describe('fails when a rule is broken', () => {
    it.concurrent.each(MUTANTS)(
      '%s: %s',
      async (flag) => {
        const outcome = await interleave(
          await compile(flag, `-DMUTATE_${flag}`),
          '--runs',
          '100000',
          '--stop-at-first',
        );
        expect(outcome.violations).toBe(1);
      },
      TIMEOUT_MS,
    );
  });
});

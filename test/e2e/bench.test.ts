// `npm run bench`: that it measures and says what it measured; how fast anything was, no test decides.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const SCRIPT = resolve(import.meta.dirname, '../../scripts/bench.mjs');
const PATIENCE_MS = 600_000;

interface Measured {
  status: 'measured' | 'not-run' | 'disturbed' | 'failed';
  unit?: string;
  value?: number;
  min?: number;
  max?: number;
  count?: number;
  reason?: string;
}

interface Row {
  bench: string;
  what: string;
  measured: Measured;
  budget: { bound: string; unit: string; limit: number; at: string | null } | null;
  holds: boolean | null;
  beside: { name: string; measured: Measured }[];
}

let folder: string;

async function bench(args: readonly string[], path = process.env['PATH']) {
  const file = join(folder, 'bench.json');
  rmSync(file, { force: true });
  const child = spawn(process.execPath, [SCRIPT, '--quick', '--json', file, ...args], {
    env: { ...process.env, PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr, json: () => JSON.parse(readFileSync(file, 'utf8')) };
}

function expectMeasured(measured: Measured): void {
  expect(measured).toMatchObject({ status: 'measured', unit: expect.any(String) });
  const { value, min, max, count } = measured as Required<Measured>;
  expect(count).toBeGreaterThan(0);
  expect([min, value, max]).toEqual([min, value, max].toSorted((a, b) => a - b));
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'socktrace-bench-test-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('npm run bench', () => {
  it(
    'measures what was asked for, in the order of all, and writes it for programs too',
    async () => {
      const { code, stdout, stderr, json } = await bench(['--only', 'recording', '--only', 'stall']);
      expect(code, stderr).toBe(0);
      const { schemaVersion, quick, host, rows } = json() as {
        schemaVersion: number;
        quick: boolean;
        host: object;
        rows: Row[];
      };
      expect({ schemaVersion, quick }).toEqual({ schemaVersion: 1, quick: true });
      expect(host).toMatchObject({
        hooks: expect.stringMatching(/^(fentry|kprobe|cgroup)$/),
        cpus: expect.any(Number),
      });
      expect(rows.map((row) => row.bench)).toEqual(['stall', 'recording', 'recording']);
      for (const row of rows) {
        expectMeasured(row.measured);
        for (const { measured } of row.beside) expectMeasured(measured);
        // Both budgets are of more than a quick run does.
        expect(row.budget?.at).toEqual(expect.any(String));
        expect(row.holds).toBeNull();
        expect(stdout).toContain(row.what);
      }
      // Not how fast, but whether it is true: a tracer that stood still has counted everything.
      expect(rows[0]?.measured.value).toBe(0);
      expect(rows[0]?.beside.find(({ name }) => name === 'leaked')?.measured.value).toBe(3_000);
    },
    PATIENCE_MS,
  );

  it(
    'names what cannot be run here, with the reason, and that nothing was measured',
    async () => {
      const { code, stdout, json } = await bench(['--only', 'html', '--markdown'], '/no/such/folder');
      expect(code).toBe(3);
      expect(json().rows).toMatchObject([
        { bench: 'html', measured: { status: 'not-run', reason: 'chromium is not installed' }, holds: null },
      ]);
      expect(stdout).toMatch(/^\| HTML report \| NOT RUN \| {2}\| {2}\| because: chromium is not installed \|$/m);
    },
    PATIENCE_MS,
  );

  it('says what there is, when it is asked for something else', async () => {
    const { code, stderr } = await bench(['--only', 'everything']);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^there is no benchmark everything\nnpm run bench -- \[options\]\n {2}--only NAME .*: start, cycles, /,
    );
  });
});

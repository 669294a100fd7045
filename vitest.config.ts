import { defineConfig } from 'vitest/config';

// Host and end-to-end tests load BPF programs and count this machine's sockets: root only, and one file at a time.
const isRoot = process.getuid?.() === 0;
const oneAtATime = { pool: 'forks', fileParallelism: false, maxWorkers: 1 } as const;

if (!isRoot) console.error('host and e2e tests NOT RUN: not root');

const unit = {
  // Beside other work on the machine, what takes a second may take ten.
  test: { name: 'unit', include: ['test/unit/**/*.test.{ts,mjs}'], testTimeout: 60_000, sequence: { groupOrder: 0 } },
};

const host = {
  test: {
    name: 'host',
    include: ['test/host/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    sequence: { groupOrder: 1 },
    ...oneAtATime,
  },
};

const e2e = {
  test: {
    name: 'e2e',
    include: ['test/e2e/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    sequence: { groupOrder: 2 },
    ...oneAtATime,
  },
};

// Emulated machines: needs no rights of its own, but the CPU.
const kernels = {
  test: {
    name: 'kernels',
    include: ['test/kernels/*.test.mjs'],
    sequence: { groupOrder: 3 },
    ...oneAtATime,
  },
};

// What runs inside of them.
const guest = {
  test: {
    name: 'guest',
    include: ['test/kernels/guest/*.test.ts', 'test/host/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    isolate: false,
    ...oneAtATime,
  },
};

const everywhere = [unit, kernels];
const inGuest = process.env['SOCKTRACE_HOOKS'] !== undefined;
const projects = inGuest ? [guest] : isRoot ? [...everywhere, host, e2e] : everywhere;

// The kernel lab gives the guests what was translated here.
const experimental = { fsModuleCache: inGuest, fsModuleCachePath: '.cache/lab/modules' };

export default defineConfig({ test: { projects, retry: 0, experimental } });

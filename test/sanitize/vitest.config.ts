import { defineConfig } from 'vitest/config';

// In threads of one process, which ends by itself: that is when it is looked at for leaks. Vitest kills the others.
export default defineConfig({
  test: {
    include: ['test/host/**/*.test.ts'],
    setupFiles: ['test/sanitize/shed.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'threads',
    fileParallelism: false,
    maxWorkers: 1,
    retry: 0,
  },
});

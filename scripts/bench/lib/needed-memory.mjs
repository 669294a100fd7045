/** Loaded into a tracer: at SIGUSR2 it collects its garbage, and says on stderr how many bytes it needs. */
process.on('SIGUSR2', () => {
  globalThis.gc();
  // Buffers are freed when what held them has been collected.
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(`needed ${heapUsed + external}\n`);
});

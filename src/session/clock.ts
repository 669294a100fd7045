/** The clock the kernel side uses, in the unit the ledger uses. */

/** CLOCK_MONOTONIC in ms: bpf_ktime_get_ns and process.hrtime read the same clock. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const NOBODY = new Int32Array(new SharedArrayBuffer(4));

/** Stands still, event loop and all. */
export function pauseMs(ms: number): void {
  Atomics.wait(NOBODY, 0, 0, ms);
}

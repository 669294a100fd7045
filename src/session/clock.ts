/** The clock the kernel side uses, in the unit the ledger uses. */

/** CLOCK_MONOTONIC in ms: bpf_ktime_get_ns and process.hrtime read the same clock. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** When a trace looks where every socket of the host is. */
import { cpuMsSince, Doubling } from '../session/pace.ts';
import type { Session } from '../session/session.ts';

/** The first look after that at the start. */
const FIRST_AFTER_MS = 5_000;
/** Ports of suspects are those of a kind once they are known as suspects: until then the kind is not told apart. */
const UNTIL_KNOWN_MS = 1_000;

/** A look at the start, and now and then, so that of the ports it is known how they grew of late. */
export class Looks {
  readonly #session: Session;
  readonly #again: Doubling;

  constructor(session: Session) {
    this.#session = session;
    const startMs = performance.now();
    const costMs = this.#look();
    const { minAgeMs } = session.ledger.thresholds;
    this.#again = new Doubling(startMs, Math.max(FIRST_AFTER_MS, minAgeMs + UNTIL_KNOWN_MS), costMs);
  }

  whenDue(): void {
    if (!this.#again.isDue(performance.now())) return;
    const costMs = this.#look();
    this.#again.ran(costMs, performance.now());
  }

  #look(): number {
    const before = process.cpuUsage();
    this.#session.takeCensus();
    return cpuMsSince(before);
  }
}

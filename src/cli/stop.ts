/** Ctrl-C, SIGTERM, a hang-up and a closed output: the first asks for the report, a second Ctrl-C or SIGTERM ends at once. */
import type { Writable } from 'node:stream';
import { ExitCode } from './exit-codes.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class StopRequest {
  #requested = false;
  #gaveUp = false;
  #wake: (() => void) | null = null;

  readonly #outputs: readonly Writable[];

  /** @param outputs streams without a reader of which there is no point in going on */
  constructor(outputs: readonly Writable[]) {
    this.#outputs = outputs;
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    for (const output of outputs) output.on('error', this.#onOutputError);
  }

  get requested(): boolean {
    return this.#requested;
  }

  /** Whether it was the tracer itself that could not go on. */
  get gaveUp(): boolean {
    return this.#gaveUp;
  }

  /** The tracer cannot go on: what it has is reported, and its exit status is that of an error. */
  giveUp(): void {
    this.#gaveUp = true;
  }

  /** Asks as a signal does: for those that come as keys, or that only a terminal's viewer wants to hear of. */
  ask(signal: NodeJS.Signals): void {
    this.#onSignal(signal);
  }

  /** Resolves after `ms`, or at once when a stop is asked for. */
  wait(ms: number): Promise<void> {
    if (this.#requested) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      this.#wake = done;
      function done(): void {
        clearTimeout(timer);
        resolve();
      }
    });
  }

  dispose(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    for (const output of this.#outputs) output.off('error', this.#onOutputError);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    // The kernel takes the hooks down with the process: every link is a descriptor.
    // Of a terminal that goes several come at once, from the kernel and from the shell: nobody is impatient.
    if (this.#requested && signal !== 'SIGHUP')
      process.exit(signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated);
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[Kreporting; press again to force\n');
    this.#stop();
  };

  /** Nobody reads on: output.ts says what there is to say. */
  readonly #onOutputError = (): void => this.#stop();

  #stop(): void {
    this.#requested = true;
    this.#wake?.();
  }
}

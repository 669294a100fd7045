/** Ctrl-C, SIGTERM and a closed stdout: the first asks for the report, the second signal ends at once. */
import { ExitCode } from './exit-codes.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export class StopRequest {
  #requested = false;
  #wake: (() => void) | null = null;

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    process.stdout.on('error', this.#onOutputError);
  }

  get requested(): boolean {
    return this.#requested;
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
    process.stdout.off('error', this.#onOutputError);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    // The kernel takes the hooks down with the process: every link is a descriptor.
    if (this.#requested) process.exit(signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated);
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

/** Sockets and failed calls whose call paths are being unwound: the ledger is told of them when these are known. */
import type { DecodedFailure, DecodedSocket, Decoder } from '../kernel/decode.ts';
import { monotonicMs } from './clock.ts';

/** So long a socket waits for its call paths before it is told without. */
const PATIENCE_MS = 1_000;
const MOST_WAITING = 100_000;

interface Waiting {
  socket: DecodedSocket;
  sinceMs: number;
  /** the ledger knows it without its paths */
  told: boolean;
}

export interface Tellers {
  socket: (socket: DecodedSocket) => void;
  failure: (failure: DecodedFailure) => void;
}

export class LatePaths {
  readonly #decoder: Decoder;
  readonly #tell: Tellers;
  #sockets: Waiting[] = [];
  #failures: DecodedFailure[] = [];

  constructor(decoder: Decoder, tell: Tellers) {
    this.#decoder = decoder;
    this.#tell = tell;
  }

  /** Tells of it now, or once its paths are known. */
  socket(socket: DecodedSocket): void {
    if (isPending(socket) && this.#sockets.length < MOST_WAITING)
      this.#sockets.push({ socket, sinceMs: monotonicMs(), told: false });
    else this.#tell.socket(socket);
  }

  /** Tells of it now, and again with its path. */
  failure(failure: DecodedFailure): void {
    this.#tell.failure(failure);
    if (failure.facts.path?.status === 'pending' && this.#failures.length < MOST_WAITING) this.#failures.push(failure);
  }

  /** Tells of what is known by now. What has waited too long is told without, and again later if it lives. */
  tellKnown(patienceMs: number = PATIENCE_MS): void {
    this.#failures = this.#failures.filter((waiting) => {
      const failure = this.#decoder.withPath(waiting);
      if (failure.facts.path?.status === 'pending') return true;
      this.#tell.failure(failure);
      return false;
    });
    if (this.#sockets.length === 0) return;
    const nowMs = monotonicMs();
    this.#sockets = this.#sockets.filter((entry) => {
      const socket = this.#decoder.withPaths(entry.socket);
      const pending = isPending(socket);
      if (pending && (entry.told || nowMs - entry.sinceMs < patienceMs)) return true;
      this.#tell.socket(socket);
      entry.told = true;
      return pending && !socket.destroyed && !socket.facts.heldAtExit;
    });
  }
}

function isPending({ facts }: DecodedSocket): boolean {
  return facts.openPath.status === 'pending' || facts.bindPath?.status === 'pending';
}

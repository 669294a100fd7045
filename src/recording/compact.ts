/** From the ledger's inputs to the lines of a recording, and back: what repeats itself is left out, and put in again. */
import type { HeldSocket, LedgerInput, ProcessFacts, ProcessId, SocketFacts, SocketId } from '../ledger/types.ts';
import type { EndLine, HoldersLine, RecordingHeader, RecordingLine } from './format.ts';

/** What one line may hold of a walk. */
const MOST_HOLDERS = 2_000;
const MOST_GONE = 10_000;

/** Both ends forget the same process at the same line. */
const MOST_PROCESSES = 10_000;

type HoldersInput = Extract<LedgerInput, { type: 'holders' }>;
type ProcessInput = Extract<LedgerInput, { type: 'process' }>;

/** The facts that were written last of each process, of the latest some. */
class LatestFacts {
  readonly #byId = new Map<ProcessId, ProcessFacts>();

  get(id: ProcessId): ProcessFacts | undefined {
    return this.#byId.get(id);
  }

  set(facts: ProcessFacts): void {
    this.#byId.set(facts.id, facts);
    if (this.#byId.size <= MOST_PROCESSES) return;
    for (const oldest of this.#byId.keys()) {
      this.#byId.delete(oldest);
      return;
    }
  }
}

/** The writing end. */
export class Compactor {
  readonly #processes = new LatestFacts();
  #walks = 0;
  #losses = '[]';

  /** The lines that say what `input` says; none when it says nothing new. */
  linesOf(input: LedgerInput): RecordingLine[] {
    switch (input.type) {
      case 'holders':
        return this.#holders(input);
      case 'process':
        return [this.#process(input)];
      case 'ended':
        if (input.facts.heldAtExit) return [input];
        return [{ type: 'closed', id: input.facts.id, atMs: input.atMs }];
      case 'loss': {
        // Totals, of which the greatest counts: the same again changes nothing.
        const losses = JSON.stringify(input.losses);
        if (losses === this.#losses) return [];
        this.#losses = losses;
        return [input];
      }
      default:
        return [input];
    }
  }

  #process(input: ProcessInput): RecordingLine {
    const { facts, activity } = input;
    const before = this.#processes.get(facts.id);
    if (before !== undefined && isSame(facts, before)) return { type: 'activity', process: facts.id, activity };
    this.#processes.set(facts);
    return input;
  }

  #holders({ atMs, complete, sockets, gone }: HoldersInput): HoldersLine[] {
    this.#walks += 1;
    const parts = partsOf(sockets, gone);
    return parts.map((part, i) => ({
      type: 'holders',
      atMs,
      complete,
      walk: this.#walks,
      ...part,
      more: i < parts.length - 1,
    }));
  }
}

/** The fields of a process are read once, so what did not change is the same object. */
function isSame(a: ProcessFacts, b: ProcessFacts): boolean {
  return (Object.keys(a) as (keyof ProcessFacts)[]).every((name) => a[name] === b[name]);
}

type Part = Pick<HoldersLine, 'sockets' | 'gone'>;

function partsOf(changed: readonly HeldSocket[], gone: readonly SocketId[]): Part[] {
  const parts: Part[] = [];
  let sockets: HeldSocket[] = [];
  let holders = 0;
  for (const socket of changed) {
    if (holders >= MOST_HOLDERS) {
      parts.push({ sockets, gone: [] });
      sockets = [];
      holders = 0;
    }
    sockets.push(socket);
    holders += socket.holders.length + 1;
  }
  for (let i = MOST_GONE; i < gone.length; i += MOST_GONE)
    parts.push({ sockets: [], gone: gone.slice(i, i + MOST_GONE) });
  parts.push({ sockets, gone: gone.slice(0, MOST_GONE) });
  return parts;
}

const NOT_RECORDED: { status: 'unavailable'; reason: string } = {
  status: 'unavailable',
  reason: 'a recording does not keep it',
};

/**
 * The last facts of a socket that nobody held at exit. The ledger asks them for nothing but the id. Written out, as there
 * are millions: a spread takes ten times as long.
 */
function closedFacts(id: SocketId): SocketFacts {
  return {
    id,
    origin: 'traced',
    accepted: NOT_RECORDED,
    owner: NOT_RECORDED,
    openedMs: NOT_RECORDED,
    changedMs: 0,
    version: '0',
    family: 4,
    state: 'CLOSE',
    port: null,
    ever: NOT_RECORDED,
    bindErrno: null,
    connectErrno: null,
    socketErrno: null,
    local: null,
    peer: null,
    released: true,
    releaseState: null,
    heldAtExit: false,
    netns: 0,
    uid: 0,
    openPath: NOT_RECORDED,
    bindPath: null,
  };
}

/** The reading end. */
export class Expander {
  readonly #processes = new LatestFacts();
  #sockets = new Map<SocketId, HeldSocket>();
  /** Also in walks that were not whole: what these did not come to may be held still. */
  #gone = new Set<SocketId>();
  #walk = 0;
  #inWalk = false;
  #isGapless = true;

  /**
   * The input that a line stands for; null when more lines belong to it.
   * @returns undefined when it refers to a line that is missing
   */
  expand(line: Exclude<RecordingLine, RecordingHeader | EndLine>): LedgerInput | null | undefined {
    switch (line.type) {
      case 'holders':
        return this.#holders(line);
      case 'activity': {
        const facts = this.#processes.get(line.process);
        return facts === undefined ? undefined : { type: 'process', facts, activity: line.activity };
      }
      case 'closed':
        return { type: 'ended', facts: closedFacts(line.id), atMs: line.atMs };
      case 'process':
        this.#processes.set(line.facts);
        return line;
      default:
        return line;
    }
  }

  #holders({ atMs, complete, walk, sockets, gone, more }: HoldersLine): HoldersInput | null {
    // Without what is missing, nobody knows which sockets no descriptor holds: no walk from here on is a whole one.
    if (walk !== (this.#inWalk ? this.#walk : this.#walk + 1)) this.#isGapless = false;
    this.#walk = walk;
    this.#inWalk = more;
    for (const socket of sockets) {
      this.#sockets.set(socket.id, socket);
      this.#gone.delete(socket.id);
    }
    for (const id of gone) this.#gone.add(id);
    if (more) return null;
    const isWhole = complete && this.#isGapless;
    const input: HoldersInput = {
      type: 'holders',
      atMs,
      complete: isWhole,
      sockets: [...this.#sockets.values()],
      gone: isWhole ? [...this.#gone] : [],
    };
    this.#sockets = new Map();
    if (isWhole) this.#gone = new Set();
    return input;
  }
}

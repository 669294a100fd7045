/** The live view of a trace on a terminal: keys in, screens out. What it shows is in render/live. */
import { emitKeypressEvents, type Interface } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { type Frame, frameOf } from '../render/live/frame.ts';
import { ASCII_BLOCKS, BLOCKS, History } from '../render/live/history.ts';
import {
  LiveReport,
  type PortlessCalls,
  portlessCalls,
  portlessCallsSince,
  suspectsOf,
} from '../render/live/live-report.ts';
import { FIRST_STATE, type Key, type LiveState, type NamedKey, NOTHING_SHOWN, press } from '../render/live/state.ts';
import type { Report } from '../report/types.ts';
import { PacedJob } from '../session/pace.ts';
import type { Session } from '../session/session.ts';
import type { Display } from './display.ts';
import type { LiveRecorder } from './live-recorder.ts';
import { Screen } from './screen.ts';
import type { StopRequest } from './stop.ts';
import { styleFor } from './style.ts';

/** At least so far apart; what costs more comes more rarely. Ages are in seconds. */
const REFRESH_MS = 1_000;
const CENSUS_MS = 10_000;
/** Rows are sorted anew so long after they were sorted and after the last key: nobody can hit what moves. */
const SORT_MS = 5_000;
/** Of what a Pace permits the view may take a third, and looking at all sockets of the host a quarter. */
const REFRESH_WEIGHT = 3;
const CENSUS_WEIGHT = 4;
/** A key that sends no more within this time was Escape itself. */
const ESCAPE_MS = 50;
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

interface Keypress {
  name?: string;
  ctrl: boolean;
  meta: boolean;
  sequence: string;
}

const NAMED: Readonly<Record<string, NamedKey>> = {
  up: 'up',
  down: 'down',
  pageup: 'pageup',
  pagedown: 'pagedown',
  home: 'home',
  end: 'end',
  return: 'enter',
  enter: 'enter',
  escape: 'escape',
  backspace: 'backspace',
};

export class LiveView implements Display {
  readonly #session: Session;
  readonly #stop: StopRequest;
  readonly #input: ReadStream;
  readonly #output: WriteStream & { fd: number };
  readonly #recorder: LiveRecorder | null;
  readonly #screen: Screen;
  readonly #history = new History();
  readonly #refresh = new PacedJob(REFRESH_MS, Number.NEGATIVE_INFINITY, () => performance.now(), REFRESH_WEIGHT);
  readonly #census = new PacedJob(CENSUS_MS, performance.now(), () => performance.now(), CENSUS_WEIGHT);
  #censusAt = performance.now();
  /** since the last census, as of what is shown */
  #lookedMs = 0;
  /** calls that had found no free port by the last census, and since then */
  #portlessThen: PortlessCalls = new Map();
  #portlessSince: PortlessCalls = new Map();
  #state: LiveState = FIRST_STATE;
  #sortAt = performance.now();
  #live: LiveReport | null = null;
  #frame: Frame | null = null;

  constructor(
    session: Session,
    stop: StopRequest,
    input: ReadStream,
    output: WriteStream & { fd: number },
    recorder: LiveRecorder | null,
  ) {
    this.#session = session;
    this.#stop = stop;
    this.#input = input;
    this.#output = output;
    this.#recorder = recorder;
    this.#screen = new Screen(input, output);
    // Before the others that listen: what they write belongs on the screen below.
    for (const signal of SIGNALS) process.prependListener(signal, this.#leave);
    process.on('SIGHUP', this.#onHangUp);
    process.on('SIGTSTP', this.#suspend);
    process.on('SIGCONT', this.#resume);
    process.on('uncaughtExceptionMonitor', this.#leave);
    process.on('exit', this.#leave);
    // The time-out is all that it asks of the second one.
    emitKeypressEvents(input, { escapeCodeTimeout: ESCAPE_MS } as unknown as Interface);
    input.on('keypress', this.#onKeypress);
    input.on('error', this.#onHangUp);
    input.on('end', this.#onHangUp);
    output.on('resize', this.#onResize);
    this.#screen.enter();
  }

  show(report: () => Report): void {
    if (this.#state.paused || !this.#screen.isEntered) return;
    // The ports in use, and how fast they go: the sockets of everybody have to be looked at for it.
    this.#census.whenDue(() => {
      this.#session.takeCensus();
      this.#censusAt = performance.now();
      this.#portlessThen = portlessCalls(report());
      this.#portlessSince = new Map();
    }, this.#portlessSince.size > 0);
    this.#refresh.whenDue(() => {
      const now = report();
      if (performance.now() >= this.#sortAt) this.#state = { ...this.#state, order: null };
      this.#live = new LiveReport(now);
      this.#lookedMs = performance.now() - this.#censusAt;
      this.#portlessSince = portlessCallsSince(this.#portlessThen, portlessCalls(now));
      this.#history.add(now.window.durationMs, suspectsOf(now));
      this.#draw();
    });
  }

  close(): void {
    this.#leave();
    for (const signal of SIGNALS) process.off(signal, this.#leave);
    process.off('SIGHUP', this.#onHangUp);
    process.off('SIGTSTP', this.#suspend);
    process.off('SIGCONT', this.#resume);
    process.off('uncaughtExceptionMonitor', this.#leave);
    process.off('exit', this.#leave);
    this.#input.off('keypress', this.#onKeypress);
    this.#input.off('error', this.#onHangUp);
    this.#input.off('end', this.#onHangUp);
    this.#output.off('resize', this.#onResize);
  }

  #draw(): void {
    if (this.#live === null || !this.#screen.isEntered) return;
    const note = this.#recorder?.note ?? null;
    const header = {
      history: this.#history,
      blocks: blocks(),
      lookedMs: this.#lookedMs,
      portlessSince: this.#portlessSince,
      note,
    };
    this.#frame = frameOf(this.#live, this.#state, header, this.#screen.size, styleFor(this.#output));
    this.#screen.draw(this.#frame.lines);
    if (this.#state.order === null) this.#holdOrder();
    this.#state = { ...this.#state, order: this.#frame.shown.rows };
  }

  #holdOrder(): void {
    this.#sortAt = performance.now() + SORT_MS;
  }

  readonly #onKeypress = (text: string | undefined, keypress: Keypress): void => {
    // Also where the first one, of the same read, has left the screen already: the second ends at once.
    if (keypress.ctrl && keypress.name === 'c') return this.#ask('SIGINT');
    if (!this.#screen.isEntered) return;
    if (keypress.ctrl && keypress.name === 'z') return this.#toShell();
    if (keypress.ctrl && keypress.name === 'l') this.#screen.forget();
    this.#holdOrder();
    const key = keyOf(text, keypress);
    if (text === 'r' && !this.#state.typing) this.#recorder?.toggle();
    else if (key !== null) this.#state = press(this.#state, key, this.#frame?.shown ?? NOTHING_SHOWN);
    if (this.#state.leaving) return this.#ask('SIGINT');
    this.#draw();
  };

  readonly #onResize = (): void => {
    this.#screen.forget();
    this.#draw();
  };

  readonly #onHangUp = (): void => this.#ask('SIGHUP');

  #ask(signal: NodeJS.Signals): void {
    this.#leave();
    this.#stop.ask(signal);
  }

  readonly #leave = (): void => this.#screen.leave();

  /** As the terminal does where it is not raw: everybody of this job stops. */
  #toShell(): void {
    this.#leave();
    process.kill(0, 'SIGTSTP');
  }

  readonly #suspend = (): void => {
    this.#leave();
    process.kill(process.pid, 'SIGSTOP');
  };

  readonly #resume = (): void => {
    if (this.#stop.requested) return;
    this.#leave();
    this.#screen.enter();
    this.#draw();
  };
}

function keyOf(text: string | undefined, { name, ctrl, meta }: Keypress): Key | null {
  const named = name === undefined ? undefined : NAMED[name];
  if (named !== undefined) return { is: named };
  return text === undefined || ctrl || meta ? null : { is: 'text', text };
}

/** Only where the locale says that the terminal shows no UTF-8 there is a reason to doubt it. */
function blocks(): string {
  const { LC_ALL, LC_CTYPE, LANG, TERM } = process.env;
  const locale = LC_ALL || LC_CTYPE || LANG || 'UTF-8';
  return /utf-?8/i.test(locale) && TERM !== 'linux' ? BLOCKS : ASCII_BLOCKS;
}

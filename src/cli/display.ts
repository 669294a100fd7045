/** What a person sees while a trace runs: the live view, one line, or news as they come. */
import type { Report } from '../report/types.ts';
import type { Session } from '../session/session.ts';
import type { LiveRecorder } from './live-recorder.ts';
import { NewsLines } from './news-lines.ts';
import { StatusLine } from './status-line.ts';
import type { StopRequest } from './stop.ts';

export interface Display {
  /** Shows the present state when it is time; `report` is called only then. */
  show(report: () => Report): void;
  /** Leaves the terminal as it was. May be called again. */
  close(): void;
}

export interface DisplayOptions {
  /** what else is printed while it runs; the live view wants the terminal for itself */
  events: boolean;
  json: boolean;
  /** for the `r` key of the live view */
  recorder?: LiveRecorder;
}

/** The best that stdin, stdout and stderr permit. */
export async function openDisplay(
  session: Session,
  stop: StopRequest,
  { events, json, recorder }: DisplayOptions,
): Promise<Display | null> {
  const { stdin, stdout, stderr } = process;
  if (events) return null;
  if (isLive({ events, json })) {
    // Loaded only here: other commands start without it.
    const { LiveView } = await import('./live-view.ts');
    return new LiveView(session, stop, stdin, stdout, recorder ?? null);
  }
  return stderr.isTTY ? new StatusLine(stderr) : new NewsLines(stderr);
}

/** Whether it is the live view, which looks at all sockets by itself. */
export function isLive({ events, json }: DisplayOptions): boolean {
  return !events && !json && canShowLive();
}

/** Whether a terminal can be had for the live view. */
export function canShowLive(): boolean {
  return Boolean(process.stdin.isTTY && process.stdout.isTTY && process.stderr.isTTY && canDraw());
}

function canDraw(): boolean {
  return !['', 'dumb'].includes(process.env['TERM'] ?? '');
}

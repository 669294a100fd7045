/** What a person sees while a trace runs: the live view, one line, or news as they come. */
import type { Report } from '../report/types.ts';
import type { Session } from '../session/session.ts';
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
}

/** The best that stdin, stdout and stderr permit. */
export async function openDisplay(
  session: Session,
  stop: StopRequest,
  { events, json }: DisplayOptions,
): Promise<Display | null> {
  const { stdin, stdout, stderr } = process;
  if (events) return null;
  if (!json && stdin.isTTY && stdout.isTTY && stderr.isTTY && canDraw()) {
    // Loaded only here: other commands start without it.
    const { LiveView } = await import('./live-view.ts');
    return new LiveView(session, stop, stdin, stdout);
  }
  return stderr.isTTY ? new StatusLine(stderr) : new NewsLines(stderr);
}

function canDraw(): boolean {
  return !['', 'dumb'].includes(process.env['TERM'] ?? '');
}

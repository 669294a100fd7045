/** How the report gets into the page: as JSON that no parser of HTML can take for anything else. */
import type { Timeline } from '../../report/timeline.ts';
import type { Report } from '../../report/types.ts';
import { renderJsonLine } from '../json.ts';

export const DATA_ID = 'data';

/** What the page is given. Its program knows no more than this. */
export interface PageData {
  report: Report;
  timeline: Timeline;
}

/** For the content of a script element of type application/json. */
export function embedJson(data: PageData): string {
  return renderJsonLine(data).replaceAll('<', '\\u003c');
}

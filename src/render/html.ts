/** The report as one HTML file: nothing is fetched, so it can be mailed, kept, and opened years later. */
import type { Timeline } from '../report/timeline.ts';
import type { Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { pageAssets } from './html/assets.ts';
import { DATA_ID, embedJson } from './html/data.ts';
import { PLAIN } from './style.ts';
import { renderText } from './text.ts';

const NOT_SHOWN = 'the page shows sums and findings, not every socket';

/**
 * The page. What others chose (names, arguments, symbols) is only ever in it as JSON, and put into the document as text.
 * @throws Error when the page's program was not built
 */
export function renderHtml(report: Report, timeline: Timeline): string {
  const { script, style } = pageAssets();
  const shown: Report = { ...report, snapshot: { status: 'unavailable', reason: NOT_SHOWN } };
  const policy = [
    "default-src 'none'",
    `script-src ${script.hash}`,
    `style-src ${style.hash}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${asHtml(escapeText(titleOf(report)))}</title>
<style>${style.text}</style>
</head>
<body>
<noscript><pre>${asHtml(renderText(report, PLAIN, { files: [] }))}</pre></noscript>
<script type="application/json" id="${DATA_ID}">${embedJson({ report: shown, timeline })}</script>
<script>${script.text}</script>
</body>
</html>
`;
}

function titleOf({ host, verdict, window }: Report): string {
  const found = { leak: 'leak', 'no-leak': 'no leak', 'not-known': 'not known' }[verdict.is];
  return `socktrace: ${found} on ${host.hostname}, ${window.startedAt}`;
}

/** Text that is already free of controls. */
function asHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

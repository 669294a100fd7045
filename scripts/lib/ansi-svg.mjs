/** A screen of a terminal, with its colour codes, as an SVG picture: light or dark as its reader has it. */

const CELL = { width: 8.4, height: 18 };
const FONT_SIZE = 14;
const MARGIN = 14;
const BASELINE = 13.5;

/** What the live view and the reports use; 7 is reverse video. */
const TURNS_ON = { 1: 'bold', 2: 'dim', 7: 'inverse', 31: 'red', 32: 'green', 33: 'yellow' };
const TURNS_OFF = { 22: ['bold', 'dim'], 27: ['inverse'], 39: ['red', 'green', 'yellow'], 49: [] };

const STYLE = `
  .back { fill: #ffffff; stroke: #d0d7de }
  text { font: ${FONT_SIZE}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328; white-space: pre }
  .bold { font-weight: bold } .dim { fill: #6e7781 } .red { fill: #b3261e } .green { fill: #1a7f37 } .yellow { fill: #8a5a00 }
  .bar { fill: #1f2328 } .inverse { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .dim { fill: #8b949e } .red { fill: #ff7b72 } .green { fill: #56d364 } .yellow { fill: #e3b341 }
    .bar { fill: #e6edf3 } .inverse { fill: #0d1117 }
  }`;

// biome-ignore lint/suspicious/noControlCharactersInRegex: the codes begin with one
const CODE_OR_TEXT = /\x1b\[([\d;]*)m|([^\x1b]+)/g;

/** Runs of characters that look the same: `{ text, row, column, classes }`. A code holds until another one, over lines too. */
export function runsOf(lines) {
  const runs = [];
  let on = new Set();
  for (const [row, line] of lines.entries()) {
    let column = 0;
    for (const [, codes, text] of line.matchAll(CODE_OR_TEXT)) {
      if (text === undefined) {
        for (const code of codes.split(';').map(Number)) on = after(code, on);
        continue;
      }
      runs.push({ text, row, column, classes: [...on].sort() });
      column += [...text].length;
    }
  }
  return runs;
}

function after(code, on) {
  if (code === 0) return new Set();
  if (TURNS_ON[code] !== undefined) return new Set([...on, TURNS_ON[code]]);
  const off = TURNS_OFF[code];
  if (off === undefined) throw new Error(`no picture is known of the terminal code ${code}`);
  return new Set([...on].filter((name) => !off.includes(name)));
}

/** `lines` as tmux captures them with -e, each character one cell wide. */
export function svgOf(lines, columns, title) {
  const width = Math.ceil(columns * CELL.width + 2 * MARGIN);
  const height = lines.length * CELL.height + 2 * MARGIN;
  const shapes = runsOf(lines).flatMap(shapesOf);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escapeXml(title)}</title>
<style>${STYLE}
</style>
<rect class="back" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>
${shapes.join('\n')}
</svg>
`;
}

function shapesOf({ text, row, column, classes }) {
  const inverse = classes.includes('inverse');
  if (text.trim() === '' && !inverse) return [];
  const [x, y, width] = [MARGIN + column * CELL.width, MARGIN + row * CELL.height, [...text].length * CELL.width];
  const names = classes.length === 0 ? '' : ` class="${classes.join(' ')}"`;
  // Whatever font there is, a character takes its cell.
  const letters = `<text x="${round(x)}" y="${round(y + BASELINE)}" textLength="${round(width)}"${names}>${escapeXml(text)}</text>`;
  if (!inverse) return [letters];
  return [
    `<rect class="bar" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${CELL.height}"/>`,
    letters,
  ];
}

const round = (number) => Math.round(number * 100) / 100;

function escapeXml(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** How a text suits its reader: emphasis by ANSI codes or not at all, as the stream and NO_COLOR have it. */
export interface Style {
  /** what the reader types to run socktrace */
  command: string;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  inverse(text: string): string;
}

const unchanged = (text: string): string => text;

export const PLAIN: Style = {
  command: 'socktrace',
  bold: unchanged,
  dim: unchanged,
  red: unchanged,
  green: unchanged,
  yellow: unchanged,
  inverse: unchanged,
};

export const ANSI: Style = {
  command: 'socktrace',
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  inverse: sgr(7, 27),
};

function sgr(on: number, off: number): (text: string) => string {
  return (text) => `\x1b[${on}m${text}\x1b[${off}m`;
}

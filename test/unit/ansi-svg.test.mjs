import { describe, expect, it } from 'vitest';
import { runsOf, svgOf } from '../../scripts/lib/ansi-svg.mjs';

describe('a screen as a picture', () => {
  it('has each run in its place, with what the codes before it say', () => {
    expect(runsOf(['a\x1b[1;31mbc\x1b[39md', '\x1b[0m▁▂\x1b[2me'])).toEqual([
      { text: 'a', row: 0, column: 0, classes: [] },
      { text: 'bc', row: 0, column: 1, classes: ['bold', 'red'] },
      { text: 'd', row: 0, column: 3, classes: ['bold'] },
      { text: '▁▂', row: 1, column: 0, classes: [] },
      { text: 'e', row: 1, column: 2, classes: ['dim'] },
    ]);
  });

  it('keeps a colour into the next line, as tmux means it', () => {
    expect(runsOf(['\x1b[31ma', 'b'])[1]).toEqual({ text: 'b', row: 1, column: 0, classes: ['red'] });
  });

  it('is XML whatever is on the screen, and refuses a code that it does not know', () => {
    const svg = svgOf(['a < b & c > d', '\x1b[7m  \x1b[27m'], 20, '"<>&');
    expect(svg).toContain('a &lt; b &amp; c &gt; d');
    expect(svg).toContain('<title>"&lt;&gt;&amp;</title>');
    expect(svg).toContain('class="bar"');
    expect(() => svgOf(['\x1b[5mblink'], 20, '')).toThrow(/terminal code 5/);
  });
});

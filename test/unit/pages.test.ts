// The README and the pages behind it: what they point to is there, and no page is without a way to it.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { pages } from '../e2e/readme-lines.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

/** As GitHub makes them of headings. */
function anchorsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );
}

/** Where links and pictures of a page lead, from the root of the checkout. */
function targetsOf(page: string): { path: string; anchor: string | undefined }[] {
  const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)].map(([, a, b]) => a ?? b ?? '');
  return links
    .filter((link) => !/^https?:/.test(link))
    .map((link) => {
      const [path = '', anchor] = link.split('#');
      return { path: path === '' ? page : join(dirname(page), path), anchor };
    });
}

it.each(pages())('%s: every link leads somewhere', (page) => {
  for (const { path, anchor } of targetsOf(page)) {
    expect(existsSync(join(ROOT, path)), path).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(path)).toContain(anchor);
  }
});

it('every page is reached from the README', () => {
  const reached = targetsOf('README.md').map(({ path }) => path);
  expect(pages().length).toBeGreaterThan(4);
  expect(pages().filter((page) => page !== 'README.md' && !reached.includes(page))).toEqual([]);
});

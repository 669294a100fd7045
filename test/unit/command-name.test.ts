// The name that advice is given with: it must be one that works.
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandNameIn } from '../../src/cli/command-name.ts';
import { PLAIN } from '../../src/render/style.ts';
import { renderText } from '../../src/render/text.ts';
import { hostSample, process as processInput, session, tick } from './facts.ts';
import { reportOf } from './sample-report.ts';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'socktrace-name-')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function program(path: string): string {
  const file = join(folder, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, 0o755);
  return file;
}

const main = program('checkout/dist/cli/main.js');
const other = program('other/dist/cli/main.js');
const node = program('node/node');
const wrapper = join(program('packaged/socktrace'), '..');
for (const [name, target] of Object.entries({ linked: main, stale: other })) {
  mkdirSync(join(folder, name));
  symlinkSync(target, join(folder, name, 'socktrace'));
}
const nodePath = join(folder, 'node');
const given = (...path: string[]) => ({
  main,
  node,
  path: [...path, nodePath].join(':'),
  folder: join(folder, 'checkout'),
});

describe('the name of the command', () => {
  it('is socktrace where that is linked to what runs, or packaged', () => {
    expect(commandNameIn(given(join(folder, 'linked')))).toBe('socktrace');
    expect(commandNameIn(given(wrapper))).toBe('socktrace');
  });

  it('is node and the file where it is not, or is of another checkout', () => {
    expect(commandNameIn(given())).toBe('node dist/cli/main.js');
    expect(commandNameIn(given(join(folder, 'stale')))).toBe('node dist/cli/main.js');
  });

  it('is the whole path from elsewhere, quoted where a shell needs it', () => {
    expect(commandNameIn({ ...given(), folder: '/proc' })).toBe(`node ${main}`);
    expect(commandNameIn({ ...given(), main: '/opt/my tools/main.js' })).toBe("node '/opt/my tools/main.js'");
    expect(commandNameIn({ ...given(), path: '' })).toBe(`${node} dist/cli/main.js`);
  });

  it('is in what to type next, and nowhere in the document', () => {
    const report = reportOf([session(), processInput(), hostSample(0, 1), tick(12_000)]);
    const named = renderText(report, { ...PLAIN, command: 'node main.js' });
    const plain = renderText(report);
    expect(plain).toMatch(/^ {2}socktrace /m);
    expect(named).not.toMatch(/^ {2}socktrace /m);
    expect(named.replaceAll('node main.js', 'socktrace').replaceAll(/ +#/g, ' #')).toBe(plain.replaceAll(/ +#/g, ' #'));
  });
});

import { describe, expect, it } from 'vitest';
import { selectionOf } from '../../src/cli/selection.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput, SelectedTarget } from '../../src/ledger/types.ts';
import { parseLine } from '../../src/recording/line.ts';
import { targetName } from '../../src/render/names.ts';
import { renderText } from '../../src/render/text.ts';
import { buildReport } from '../../src/report/report.ts';
import { session } from './facts.ts';

const none: SelectedTarget = { pids: [], processes: [], follow: true };

describe('what a selection is called', () => {
  it.each<[Partial<SelectedTarget>, string]>([
    [{ selectors: [{ by: 'comm', value: 'nginx' }] }, 'the processes named nginx and their children'],
    [{ selectors: [{ by: 'user', value: 'www' }], follow: false }, 'the processes of user www'],
    [
      { pids: [7], selectors: [{ by: 'cgroup', value: 'a.service' }] },
      'pid 7 and the processes in cgroup a.service and their children',
    ],
    [{ selectors: [{ by: 'netns-of', value: '7' }], follow: false }, 'the processes in the network namespace of 7'],
    [{ pids: [7], selectors: [{ by: 'all' }] }, 'all processes'],
    [{ pids: [7], command: ['npm', 'test'] }, 'npm test'],
    [{ pids: [7] }, 'pid 7 and its children'],
    [{}, 'all processes'],
    [{ selectors: [{ by: 'comm', value: '\x1b[31m' }], follow: false }, 'the processes named \\x1b[31m'],
  ])('%j', (target, name) => {
    expect(targetName({ ...none, ...target })).toBe(name);
  });

  it('is in the subject of the report', () => {
    const ledger = new Ledger();
    ledger.apply(session({ target: { ...none, selectors: [{ by: 'comm', value: 'nginx' }] } }));
    expect(renderText(buildReport(ledger))).toMatch(/: the processes named nginx and their children, watched for /);
  });
});

describe('a recording’s session line', () => {
  const line = (changed: object): LedgerInput => session({ target: { ...none, ...changed } });

  it.each([
    { selectors: [{ by: 'comm', value: 'nginx' }, { by: 'all' }] },
    { selectors: [{ by: 'netns-of', value: '7' }], command: ['a', 'b'] },
  ])('takes %j', (target) => {
    expect(parseLine(JSON.stringify(line(target)))).toEqual(line(target));
  });

  it.each([
    { selectors: 'all' },
    { selectors: [{ by: 'comm' }] },
    { selectors: [{ by: 'magic', value: 'x' }] },
    { selectors: [null] },
    { command: 'npm test' },
    { command: [1] },
  ])('refuses %j', (target) => {
    expect(parseLine(JSON.stringify(line(target)))).toBe(null);
  });

  it('takes patterns, and refuses what is none', () => {
    expect(parseLine(JSON.stringify(session({ allow: ['^a$'] })))).not.toBe(null);
    expect(parseLine(JSON.stringify(session({ allow: [1] as unknown as string[] })))).toBe(null);
  });
});

it('without selectors nothing is selected', () => {
  expect(selectionOf({})).toBe(undefined);
});

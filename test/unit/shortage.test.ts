// Several network namespaces: who is said to suffer for which, and which of them a reader is told of first.
import { describe, expect, it } from 'vitest';
import { classify } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import type { FailureFacts, LedgerInput, SelectedTarget } from '../../src/ledger/types.ts';
import { renderText } from '../../src/render/text.ts';
import { census, onPort } from './census-facts.ts';
import { failure, measured, OWNER, process, session, unavailable } from './facts.ts';
import { reportOf } from './sample-report.ts';

const TRACED = 900;

interface Namespace {
  netns: number;
  /** of its range, which has `size` */
  used: number;
  size: number;
}

/** A host on which every namespace has a process of its own that holds its ports. */
function seen(namespaces: readonly Namespace[]): LedgerInput[] {
  const sockets = namespaces.flatMap(({ netns, used }) =>
    Array.from({ length: used }, (_, i) =>
      onPort(10_000 + i, { netns, holders: [{ process: `h:${netns}:1`, pid: netns, fd: 3 }] }),
    ),
  );
  const taken = census(sockets, {
    namespaces: namespaces.map(({ netns, size }) => ({
      inode: netns,
      path: `/run/netns/n${netns}`,
      portRange: measured([10_000, 10_000 + size - 1] as const),
      reservedPorts: measured([]),
      sockstat: unavailable('not read'),
      refusal: null,
    })),
  });
  const value = { classes: classify(taken), ports: portsOf(taken), unseen: [] };
  const holders = namespaces.map(({ netns }) => stranger(`h:${netns}:1`, netns, `holder${netns}`, netns));
  return [...holders, { type: 'census', atMs: 30_000, seen: measured(value) }];
}

function stranger(id: string, pid: number, comm: string, netns: number | null): LedgerInput {
  const input = process({ id, pid, comm, netns: netns === null ? unavailable('it has ended') : measured(netns) });
  if (input.type !== 'process') throw new TypeError('not a process');
  return { ...input, activity: unavailable('not traced') };
}

/** Of a process that ended before anybody looked at it. */
function shortLived(facts: Partial<FailureFacts>): LedgerInput[] {
  const id = 'q:77:1';
  return [
    stranger(id, 77, 'quick', null),
    failure({
      process: id,
      pid: 77,
      comm: 'quick',
      operation: 'bind',
      errno: 'EADDRINUSE',
      detail: 'port-zero',
      ...facts,
    }),
  ];
}

function textOf(inputs: readonly LedgerInput[], target: Partial<SelectedTarget> = {}): string {
  const whole = { pids: [1234], processes: [OWNER], follow: true, ...target };
  return renderText(reportOf([session({ target: whole }), process({ netns: measured(TRACED) }), ...inputs]));
}

const ONE_FULL = seen([
  { netns: TRACED, used: 3, size: 1_000 },
  { netns: 300, used: 10, size: 10 },
]);

describe('a shortage of ports', () => {
  it('has those as victims who were there, however short they lived', () => {
    expect(textOf([...ONE_FULL, ...shortLived({ netns: 300, count: 55 })])).toMatch(
      /^NO PORTS LEFT {2}elsewhere on this host, in network namespace n300: .*\n {2}1 process fails for it: quick\[77\] 55 times\n/m,
    );
  });

  it('has nobody as victim who was in a namespace that has ended since', () => {
    const text = textOf([...ONE_FULL, ...shortLived({ netns: 301, count: 55 })]);
    expect(text).toMatch(/^NO PORTS LEFT {2}elsewhere/m);
    expect(text).not.toMatch(/for it/);
    expect(text).toMatch(/VICTIM +55 .*quick\[77\] \(netns 301\)/);
  });

  it('has nobody as victim whose namespace is not known, and says how many calls those are', () => {
    const text = textOf([...ONE_FULL, ...shortLived({ netns: 0, count: 55 })]);
    expect(text).not.toMatch(/for it/);
    expect(text).toMatch(/^ {2}and 55 calls of processes whose network namespace is not known found no port$/m);
    expect(text).toMatch(/VICTIM +55 .*quick\[77\] \(netns not known\)/);
  });

  it('keeps apart what one program met in two namespaces', () => {
    const rows = textOf([
      ...ONE_FULL,
      ...shortLived({ netns: 300, count: 5 }),
      ...shortLived({ netns: TRACED, count: 7, firstMs: 1_500 }),
    ]).match(/VICTIM.*quick\[77\](?: \(.*\))?/g);
    expect(rows).toEqual([expect.stringMatching(/ 7 .*quick\[77\]$/), expect.stringMatching(/ 5 .*\(netns n300\)$/)]);
  });

  it('in the namespace of the traced comes first, in the verdict and in what to do next', () => {
    const full = [300, 301, 302, 303].map((netns) => ({ netns, used: 20, size: 20 }));
    const text = textOf(seen([...full, { netns: TRACED, used: 10, size: 10 }]));
    expect(text.match(/^NO PORTS LEFT {2}(?:elsewhere on this host, )?in network namespace \w+/gm)).toEqual([
      'NO PORTS LEFT  in network namespace n900',
      'NO PORTS LEFT  elsewhere on this host, in network namespace n300',
      'NO PORTS LEFT  elsewhere on this host, in network namespace n301',
    ]);
    expect(text.match(/idle ports of network namespace \w+/g)?.[0]).toBe('idle ports of network namespace n900');
  });
});

describe('PORTS', () => {
  const shown = (text: string): string[] =>
    [...text.matchAll(/^ {2}network namespace (\d+)/gm)].map(([, n]) => n ?? '');
  const roomy = Array.from({ length: 8 }, (_, i) => ({ netns: 100 + i, used: 50 - i, size: 1_000 }));

  it('has the namespaces of the traced first, then the full ones, then those with most ports in use', () => {
    const text = textOf(seen([...roomy, { netns: 300, used: 10, size: 10 }, { netns: TRACED, used: 5, size: 100 }]));
    expect(shown(text)).toEqual([`${TRACED}`, '300', '100', '101', '102']);
    expect(text).toMatch(/^ {2}and 5 more network namespaces: --json lists them all$/m);
  });

  it('leaves out none that is full, up to a limit', () => {
    const full = (count: number) => Array.from({ length: count }, (_, i) => ({ netns: 300 + i, used: 2, size: 2 }));
    expect(shown(textOf(seen([...roomy, ...full(12)])))).toEqual(full(12).map(({ netns }) => `${netns}`));
    const text = textOf(seen([...roomy, ...full(40)]));
    expect(shown(text)).toHaveLength(30);
    expect(text).toMatch(/^ {2}and 18 more network namespaces: --json lists them all$/m);
  });

  it('of every process of the host has no namespace that is more the traced ones’ than others', () => {
    const all = { selectors: [{ by: 'all' as const }], pids: [], processes: [] };
    const text = textOf(seen([...roomy, { netns: TRACED, used: 5, size: 100 }]), all);
    expect(shown(text)).toEqual(['100', '101', '102', '103', '104']);
  });
});

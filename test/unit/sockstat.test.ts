import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocMovement, parseSockstat } from '../../src/accounting/sockstat.ts';
import { sockstat } from './facts.ts';

const TEXT = `sockets: used 42639
TCP: inuse 81 orphan 0 tw 6 alloc 41019 mem 286
UDP: inuse 389 mem 12
FRAG: inuse 0 memory 0
`;
const TEXT6 = `TCP6: inuse 2
UDP6: inuse 2
FRAG6: inuse 0 memory 0
`;

describe('parseSockstat', () => {
  it('reads both files', () => {
    expect(parseSockstat(TEXT, TEXT6)).toEqual({
      status: 'measured',
      value: { socketsUsed: 42639, tcpInuse: 81, tcp6Inuse: 2, orphan: 0, timeWait: 6, alloc: 41019, memPages: 286 },
    });
  });

  it('knows that a kernel without IPv6 has no such sockets', () => {
    expect(parseSockstat(TEXT, null)).toMatchObject({ value: { tcp6Inuse: 0 } });
  });

  it.each([
    ['', TEXT6, 'used'],
    [TEXT.replace('alloc 41019', ''), TEXT6, 'alloc'],
    [TEXT.replace('41019', '-1'), TEXT6, 'alloc'],
    [TEXT.replace('41019', '1e3'), TEXT6, 'alloc'],
    [TEXT.replace('41019', '9'.repeat(17)), TEXT6, 'alloc'],
    [TEXT, '', 'TCP6'],
    [`${TEXT}${' '.repeat(70_000)}`, TEXT6, 'used'],
  ])('says which count is missing (%#)', (text4, text6, what) => {
    const parsed = parseSockstat(text4, text6);
    expect(parsed.status).toBe('unavailable');
    expect(parsed.status === 'unavailable' && parsed.reason).toContain(what);
  });

  it('never throws and never gives anything but counts', () => {
    const words = fc.array(fc.constantFrom('TCP:', 'sockets:', 'used', 'alloc', '1', '-1', 'NaN', '\n', '__proto__:'));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          words.map((list) => list.join(' ')),
        ),
        (text) => {
          const parsed = parseSockstat(text, text);
          if (parsed.status === 'measured') expect(Object.values(parsed.value).every(Number.isSafeInteger)).toBe(true);
        },
      ),
    );
  });
});

describe('allocMovement', () => {
  it('closes when the hooks counted what the kernel did', () => {
    const counted = { opened: 50, cloned: 3, destroyed: 13 };
    const none = { opened: 0, cloned: 0, destroyed: 0 };
    expect(allocMovement(sockstat({ alloc: 10 }), sockstat({ alloc: 50 }), none, counted)).toEqual({
      alloc: 40,
      ...counted,
      unexplained: 0,
    });
    expect(allocMovement(sockstat({ alloc: 10 }), sockstat({ alloc: 45 }), none, counted).unexplained).toBe(-5);
  });
});

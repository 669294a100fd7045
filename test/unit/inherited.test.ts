// Which descriptors of a Node process were its parent's.
import { describe, expect, it } from 'vitest';
import { inheritedOf, type OpenDescriptor } from '../../src/procfs/inherited.ts';

const open = (number: number, file: string, readOnly = true): OpenDescriptor => ({ number, file, readOnly });

/** As Node 20 begins with nothing inherited. */
const NODES = [
  open(3, 'anon_inode:[eventpoll]', false),
  open(4, 'pipe:[1]'),
  open(5, 'pipe:[1]', false),
  open(6, 'anon_inode:[eventfd]', false),
  open(7, '/dev/null'),
];

describe('inherited descriptors', () => {
  it('none of Node’s own', () => {
    expect(inheritedOf(NODES, new Set())).toEqual([]);
  });

  it('files, sockets, terminals, and what /dev/null is written to', () => {
    const given = [
      open(8, '/etc/hostname'),
      open(9, 'socket:[7]', false),
      open(10, '/dev/pts/0', false),
      open(11, '/dev/null', false),
    ];
    expect(inheritedOf([...NODES, ...given], new Set())).toEqual([8, 9, 10, 11]);
  });

  it('a pipe with one end here; one with both when others have it', () => {
    const given = [open(8, 'pipe:[2]'), open(9, 'pipe:[3]'), open(10, 'pipe:[3]', false)];
    expect(inheritedOf([...NODES, ...given], new Set())).toEqual([8]);
    expect(inheritedOf([...NODES, ...given], new Set(['pipe:[3]', '/etc/hostname']))).toEqual([8, 9, 10]);
  });
});

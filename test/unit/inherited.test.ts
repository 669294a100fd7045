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

  it('none that Node is known to have, nor what V8 writes for profilers', () => {
    const logs = ['perf-%.map', 'jit-%.dump', 'isolate-0x38073930-%-v8.log', 'isolate0x38073930-%-v8.log'];
    const files = ['socket:[8]', ...logs.map((name) => `/tmp/${name.replace('%', String(process.pid))}`)];
    const opened = files.map((file, i) => open(8 + i, file, false));
    expect(inheritedOf([...NODES, ...opened], new Set(), new Set(['socket:[8]']))).toEqual([]);
    const others = ['socket:[9]', '/tmp/perf-1.map', '/tmp/jit-1.dump'].map((file, i) => open(8 + i, file, false));
    expect(inheritedOf([...NODES, ...others], new Set(), new Set(['socket:[8]']))).toEqual([8, 9, 10]);
  });
});

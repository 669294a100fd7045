import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cgroupId, cgroupMount, findCgroups } from '../../src/procfs/cgroup-tree.ts';

const ID = 'c0ffee'.padEnd(64, '1');
let mount = '';

beforeAll(() => {
  mount = mkdtempSync(join(tmpdir(), 'socktrace-cgroups-'));
  for (const path of [
    'system.slice/nginx.service',
    'system.slice/xnginx.service',
    `system.slice/docker-${ID}.scope/init`,
    'user.slice/user-1000.slice/nginx.service',
    'self/mounts-are-here',
  ])
    mkdirSync(join(mount, path), { recursive: true });
  writeFileSync(join(mount, 'cgroup.procs'), '');
});

afterAll(() => rmSync(mount, { recursive: true }));

describe('finding cgroups', () => {
  const found = (wanted: string): string[] =>
    findCgroups(wanted, mount)
      .map((path) => path.slice(mount.length))
      .sort();

  it.each([
    ['nginx.service', ['/system.slice/nginx.service', '/user.slice/user-1000.slice/nginx.service']],
    ['nginx', ['/system.slice/nginx.service', '/user.slice/user-1000.slice/nginx.service']],
    ['system.slice', ['/system.slice']],
    ['/system.slice/nginx.service', ['/system.slice/nginx.service']],
    ['/', ['/']],
    [ID, [`/system.slice/docker-${ID}.scope`]],
    [ID.slice(0, 12), [`/system.slice/docker-${ID}.scope`]],
    [ID.slice(0, 11), []],
    ['ngin', []],
    ['/nginx.service', []],
    ['/cgroup.procs', []],
  ])('%s', (wanted, expected) => {
    expect(found(wanted)).toEqual(expected);
  });

  it('an absolute path below the mount is that path', () => {
    const path = join(mount, 'system.slice');
    expect(findCgroups(path, mount)).toEqual([path]);
  });

  it('the id is the inode number', () => {
    expect(cgroupId(mount)).toBe(statSync(mount, { bigint: true }).ino);
    expect(cgroupId(join(mount, 'gone'))).toBe(null);
  });
});

describe('the mount of cgroup2', () => {
  it.each([
    { name: 'alone', lines: ['cgroup2 /sys/fs/cgroup cgroup2 rw 0 0'], expected: '/sys/fs/cgroup' },
    {
      name: 'beside version 1, with a blank',
      lines: ['cgroup /sys/fs/cgroup/cpu cgroup rw 0 0', 'cgroup2 /sys/fs/my\\040cgroup cgroup2 rw 0 0'],
      expected: '/sys/fs/my cgroup',
    },
    { name: 'none', lines: ['cgroup /sys/fs/cgroup/cpu cgroup rw 0 0'], expected: null },
  ])('$name', ({ lines, expected }) => {
    writeFileSync(join(mount, 'self', 'mounts'), `${lines.join('\n')}\n`);
    expect(cgroupMount(mount)).toBe(expected);
  });
});

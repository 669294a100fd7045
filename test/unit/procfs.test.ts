import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBootId, readBootTimeMs, readKernelRelease } from '../../src/procfs/boot.ts';
import { parseCgroup } from '../../src/procfs/cgroup.ts';
import { listNetNamespaces } from '../../src/procfs/net-namespaces.ts';
import { processIdFor, readProcess } from '../../src/procfs/process.ts';
import { decodeText, readBytes } from '../../src/procfs/read.ts';
import { readSockstat } from '../../src/procfs/sockstat.ts';
import { parseStat } from '../../src/procfs/stat.ts';
import { checkTarget } from '../../src/procfs/target.ts';
import { parsePasswd, readUserNames } from '../../src/procfs/users.ts';
import { BOOT, measured } from './facts.ts';

const ID = 'c0ffee00'.repeat(8);
let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'socktrace-procfs-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, content: string | Buffer): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
}

function stat(
  pid: number,
  facts: { comm?: string; state?: string; flags?: number; threads?: number; start?: string } = {},
) {
  const { comm = 'leakyd', state = 'S', flags = 4194304, threads = 1, start = '283114' } = facts;
  return `${pid} (${comm}) ${state} 42 1 1 0 -1 ${flags} 99 0 0 0 0 0 0 0 20 0 ${threads} 0 ${start} 3133440 414\n`;
}

function writeProcess(pid: number, facts: Parameters<typeof stat>[1] & { tgid?: number } = {}): void {
  write(`${pid}/stat`, stat(pid, facts));
  write(`${pid}/status`, `Name:\tx\nTgid:\t${facts.tgid ?? pid}\nPid:\t${pid}\nNSpid:\t${pid}\t7\n`);
  write(`${pid}/cmdline`, Buffer.from('/usr/sbin/leakyd\0--\xff\0\0', 'latin1'));
  write(`${pid}/cgroup`, `0::/system.slice/docker-${ID}.scope\n`);
  mkdirSync(join(root, `${pid}/ns`));
  symlinkSync('net:[4026531840]', join(root, `${pid}/ns/net`));
  symlinkSync('/usr/sbin/leakyd (deleted)', join(root, `${pid}/exe`));
}

describe('readProcess', () => {
  const boot = { bootId: BOOT, bootTimeMs: measured(1_000_000) };
  const argumentsIn = (pid: number) => readBytes(`${root}/${pid}/cmdline`, 4096);

  it('reads who a process is', () => {
    writeProcess(1234);
    expect(readProcess(1234, boot, argumentsIn, root)).toEqual(
      measured({
        id: `${BOOT}:1234:283114`,
        pid: 1234,
        parentPid: 42,
        comm: 'leakyd',
        exe: measured('/usr/sbin/leakyd (deleted)'),
        cmdline: measured(['/usr/sbin/leakyd', '--\\xff', '']),
        namespacePids: measured([1234, 7]),
        startTime: measured(new Date(1_000_000 + 2_831_140).toISOString()),
        unit: measured(`docker-${ID}.scope`),
        container: measured(ID),
        netns: measured(4026531840),
        exitedMs: null,
      }),
    );
  });

  it('gives the id that the kernel side computes of the same process', () => {
    expect(processIdFor(BOOT, 1234, 2_831_149_999_999n)).toBe(`${BOOT}:1234:283114`);
  });

  it('says field by field what it could not read', () => {
    write('5/stat', stat(5));
    const read = readProcess(5, boot, argumentsIn, root);
    expect(read).toMatchObject({ value: { exe: { status: 'unavailable' }, unit: { status: 'unavailable' } } });
  });

  it('is unavailable when there is no such process', () => {
    expect(readProcess(1, boot, argumentsIn, root)).toMatchObject({ status: 'unavailable' });
  });

  it('reads the running process of this host', () => {
    const read = readProcess(process.pid, { bootId: BOOT, bootTimeMs: readBootTimeMs() }, argumentsIn);
    expect(read).toMatchObject({
      value: { pid: process.pid, parentPid: process.ppid, exe: measured(process.execPath) },
    });
    if (read.status !== 'measured' || read.value.startTime.status !== 'measured') throw new Error('no start time');
    const uptimeMs = Date.now() - Date.parse(read.value.startTime.value);
    expect(Math.abs(uptimeMs - process.uptime() * 1_000)).toBeLessThan(5_000);
  });
});

describe('parseStat', () => {
  it('reads a command name that imitates the fields', () => {
    expect(parseStat(stat(7, { comm: 'x) Z 1 (y' }))).toMatchObject({
      value: { comm: 'x) Z 1 (y', state: 'S', parentPid: 42 },
    });
  });

  it.each(['', '7', '7 (x', '7 (x) S', '7 )x( S 1 1 1 0 -1 1 1', stat(7, { start: '-5' })])('refuses %j', (text) => {
    expect(parseStat(text).status).toBe('unavailable');
  });
});

describe('parseCgroup', () => {
  it.each([
    ['0::/system.slice/nginx.service\n', 'nginx.service', null],
    ['0::/\n', null, null],
    ['', null, null],
    [`0::/docker/${ID}\n`, null, ID],
    [`0::/system.slice/docker-${ID}.scope\n`, `docker-${ID}.scope`, ID],
    [`0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n`, `cri-containerd-${ID}.scope`, ID],
    [`0::/kubepods.slice/crio-${ID}.scope/container\n`, `crio-${ID}.scope`, ID],
    [`0::/kubepods/besteffort/pod1/${ID}\n`, null, ID],
    [`0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:${ID}\n`, 'containerd.service', ID],
    [`0::/machine.slice/libpod-${ID}.scope\n`, `libpod-${ID}.scope`, ID],
    ['0::/user.slice/user-0.slice/user@0.service/app.slice/job.service\n', 'job.service', null],
    [`4:memory:/x\n1:name=systemd:/system.slice/a.service\n0::/\n`, 'a.service', null],
    [`1:name=systemd:/\n0::/docker/${ID}\n`, null, ID],
    [`0::/docker/${ID}0\n`, null, null],
  ])('%j', (text, unit, container) => {
    expect(parseCgroup(text)).toEqual({ unit, container });
  });
});

describe('checkTarget', () => {
  it.each([
    ['process', {}],
    ['kernel-thread', { flags: 0x00208040 }],
    ['zombie', { state: 'Z' }],
    ['process', { state: 'Z', threads: 3 }],
    ['thread', { tgid: 77 }],
  ] as const)('tells a %s', (is, facts) => {
    writeProcess(78, facts);
    expect(checkTarget(78, root)).toMatchObject(is === 'thread' ? { is, process: 77 } : { is, pid: 78 });
  });

  it.each([99, 0, -1, 1.5, Number.NaN])('%d is missing', (pid) => {
    expect(checkTarget(pid, root)).toEqual({ is: 'missing', pid });
  });

  it('says what it cannot read', () => {
    write('79/status', 'Tgid:\t79\n');
    write('79/stat', 'garbage');
    expect(checkTarget(79, root).is).toBe('unreadable');
  });

  it('knows this process', () => {
    expect(checkTarget(process.pid)).toMatchObject({ is: 'process' });
  });
});

describe('sockstat and boot', () => {
  const TEXT = 'sockets: used 9\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 5\n';

  it('reads the counters of a namespace, with IPv6 or without', () => {
    write('8/net/sockstat', TEXT);
    expect(readSockstat(8, root)).toMatchObject({ value: { alloc: 4, tcp6Inuse: 0 } });
    write('8/net/sockstat6', 'TCP6: inuse 6\n');
    expect(readSockstat(8, root)).toMatchObject({ value: { alloc: 4, tcp6Inuse: 6 } });
    expect(readSockstat(9, root).status).toBe('unavailable');
    expect(readSockstat().status).toBe('measured');
  });

  it('reads which boot of which kernel this is', () => {
    write('sys/kernel/random/boot_id', `${BOOT}\n`);
    write('sys/kernel/osrelease', '6.18.44\n');
    write('stat', `cpu 1 2\nintr ${'0 '.repeat(10_000)}\nctxt 1\nbtime 1795404508\n`);
    expect(readBootId(root)).toEqual(measured(BOOT));
    expect(readKernelRelease(root)).toEqual(measured('6.18.44'));
    expect(readBootTimeMs(root)).toEqual(measured(1_795_404_508_000));
  });

  it('refuses a boot id that is none', () => {
    write('sys/kernel/random/boot_id', '../../etc\n');
    expect(readBootId(root).status).toBe('unavailable');
  });
});

describe('reading', () => {
  it('shows bytes that are no UTF-8, and keeps those that are', () => {
    expect(decodeText(Buffer.from([0x61, 0xff, 0xc3, 0xa4, 0xe2, 0x82]))).toBe('a\\xffä\\xe2\\x82');
  });

  it('says which file it could not read, and why', () => {
    expect(readBytes(join(root, 'none'), 9)).toEqual({ status: 'unavailable', reason: `${root}/none: does not exist` });
  });
});

describe('user names', () => {
  it('are those of the host, where the first process or the first kernel thread is', () => {
    write('2/root/etc/passwd', 'root:x:0:0:root:/root:/bin/bash\n');
    expect(readUserNames(root)).toEqual(new Map([[0, 'root']]));
    write('1/root/etc/passwd', 'www-data:x:33:33::/var/www:/bin/sh');
    expect(readUserNames(root)).toEqual(new Map([[33, 'www-data']]));
  });

  it('are none where nothing may be read', () => {
    expect(readUserNames(root).size).toBe(0);
  });

  it('takes nothing that is no line of passwd', () => {
    const long = 'a'.repeat(65);
    const text = `#root:x:0:0\n:x:1:1\n${long}:x:2:2\nbin:x:-3:3\nsys:x:0x4\nfirst:x:5:5\nsecond:x:5:5\n\n+::::::`;
    expect(parsePasswd(text)).toEqual(new Map([[5, 'first']]));
  });
});

describe('network namespaces', () => {
  it('takes another path where the first is none any more', () => {
    for (const pid of [7, 8, 9]) writeProcess(pid);
    const { namespaces } = listNetNamespaces(root, (path) => !path.includes('/7/'));
    expect(namespaces).toEqual([{ inode: 4026531840, path: `${root}/8/ns/net` }]);
  });

  it('names one path for each, and says when /proc does not list the first kernel thread', () => {
    writeProcess(7);
    writeProcess(8);
    const only = { inode: 4026531840, path: `${root}/7/ns/net` };
    expect(listNetNamespaces(root)).toEqual({ namespaces: [only], unread: [], hidden: true });
    writeProcess(2);
    const first = { inode: 4026531840, path: `${root}/2/ns/net` };
    expect(listNetNamespaces(root)).toEqual({ namespaces: [first], unread: [], hidden: false });
  });

  it('prefers the name that ip netns gave it', () => {
    writeProcess(7);
    mkdirSync(join(root, 'self'));
    const mount = (inode: number, path: string) => `581 24 0:4 net:[${inode}] ${path} rw shared:9 - nsfs nsfs rw`;
    writeFileSync(
      join(root, 'self/mountinfo'),
      [mount(4026531840, '/srv/other'), mount(4026531840, '/run/netns/blue'), mount(9, '/srv/mine')].join('\n'),
    );
    expect(listNetNamespaces(root).namespaces).toEqual([
      { inode: 4026531840, path: '/run/netns/blue' },
      { inode: 9, path: '/srv/mine' },
    ]);
    // Where that is no way in any more, the process is.
    const { namespaces } = listNetNamespaces(root, (path) => !path.startsWith('/run'));
    expect(namespaces[0]?.path).toBe(`${root}/7/ns/net`);
  });
});

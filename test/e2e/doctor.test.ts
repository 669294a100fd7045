// What doctor says of this host and user, that its document keeps its names, and that each fix mends what it is for.
import { describe, expect, it } from 'vitest';
import type { DoctorDocument } from '../../src/cli/doctor.ts';
import type { CheckResult } from '../../src/cli/doctor-checks.ts';
import { Socktrace, socktrace } from './socktrace.ts';

const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];

/** As nobody with these and nothing else. */
function having(...names: string[]): string[] {
  const set = ['-all', ...names.map((name) => `+${name}`)].join(',');
  return [...plain, '--bounding-set', set, '--inh-caps', set, '--ambient-caps', set];
}

/** After a command of the shell, in a mount namespace of its own. */
function prepared(script: string, then: readonly string[] = []): string[] {
  return ['unshare', '--mount', 'sh', '-c', `${script} && exec "$@"`, 'sh', ...then];
}

async function doctor(prefix: readonly string[] = []): Promise<DoctorDocument> {
  const { code, stdout, stderr } = await Socktrace.startUnder(prefix, ['doctor', '--json']).finished();
  expect(stderr).toBe('');
  const document = JSON.parse(stdout) as DoctorDocument;
  expect(code).toBe(document.possible ? 0 : 3);
  return document;
}

function refused({ checks }: DoctorDocument): Record<string, CheckResult> {
  return Object.fromEntries(checks.filter(({ status }) => status === 'refused').map((check) => [check.what, check]));
}

const WHAT = [
  ...['/proc', 'kernel types (BTF)', 'CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN', 'CAP_SYS_PTRACE', 'CAP_SYS_ADMIN'],
  ...[
    'CAP_DAC_READ_SEARCH',
    '/proc of this pid namespace',
    'initial pid namespace',
    'all processes in /proc',
    'BTF tracepoints (tp_btf)',
  ],
  ...['system call exits', 'cgroup2 root and socket hooks', 'iterator over tables', 'iterator over descriptors'],
  ...['iterator over processes', 'ring buffer', 'trampolines (fentry)', 'kprobes', 'call paths', 'lockdown'],
  ...['open files (RLIMIT_NOFILE)', 'locked memory (RLIMIT_MEMLOCK)', 'memory', 'sockstat', 'debuginfod-find'],
];

describe('the document', () => {
  it.each([['root', []] as const, ['a plain user', plain] as const])(
    '%s: the same names, always',
    async (_, prefix) => {
      const document = await doctor(prefix);
      expect(Object.keys(document)).toEqual(['schemaVersion', 'tool', 'kernel', 'uid', 'possible', 'checks']);
      expect(document.schemaVersion).toBe(1);
      expect(document.checks.map(({ what }) => what)).toEqual(WHAT);
      for (const check of document.checks) {
        expect(Object.keys(check)).toEqual(['what', 'weight', 'status', 'problem', 'fix']);
        expect(['needed', 'preferred']).toContain(check.weight);
        expect(['ok', 'refused', 'unknown']).toContain(check.status);
        expect([check.problem === null, check.fix === null]).toEqual([check.status === 'ok', check.status === 'ok']);
      }
    },
  );
});

describe('as text', () => {
  it('root: a trace is possible, exit 0', async () => {
    const { code, stdout } = await socktrace('doctor');
    expect(stdout).toMatch(/ok +kernel types/);
    expect(stdout).toContain('socktrace can trace here');
    expect(code).toBe(0);
  });

  it('a plain user: each refusal with its fix, how root grants what is missing, exit 3', async () => {
    const { code, stdout } = await Socktrace.startUnder(plain, ['doctor']).finished();
    expect(stdout).toMatch(/^refused CAP_BPF: missing, to load BPF programs/m);
    expect(stdout.match(/^ +fix: \S/gm)?.length).toBe(stdout.match(/^(refused|absent|unknown) /gm)?.length);
    expect(stdout).toMatch(/^ +sudo setpriv .*--ambient-caps \+bpf,\+perfmon,\+net_admin,/m);
    expect(stdout).toMatch(/As root the kernel may refuse less: sudo .* doctor$/m);
    // libbpf guesses at locked memory whatever was refused, and the check of that says that it is not in the way.
    expect(stdout).toMatch(/^ok +locked memory/m);
    expect(stdout).toMatch(/^absent +call paths: load: EPERM .*BPF program\)$/m);
    expect(stdout.match(/RLIMIT_MEMLOCK|ulimit -l/g)).toEqual(['RLIMIT_MEMLOCK']);
    expect(code).toBe(3);
  });
});

describe('each fix mends what it is for', () => {
  it.each(['bpf', 'perfmon', 'net_admin'])('%s', async (name) => {
    const exact = ['bpf', 'perfmon', 'net_admin'];
    const short = await doctor(having(...exact.filter((one) => one !== name)));
    const what = `CAP_${name.toUpperCase()}`;
    expect(refused(short)[what]).toMatchObject({ weight: 'needed', problem: expect.stringMatching(/^missing, to /) });
    const others = Object.values(refused(short)).filter(({ weight, what: one }) => weight === 'needed' && one !== what);
    expect(others.length).toBeGreaterThan(0);
    for (const { fix } of others) expect(fix).toBe(`run as root, or with ${what}`);
    expect(short.possible).toBe(false);
    expect((await doctor(having(...exact))).possible).toBe(true);
  });

  it('a pid namespace of its own with the /proc of another', async () => {
    const document = await doctor(['unshare', '--pid', '--fork']);
    const needed = Object.values(refused(document)).filter(({ weight }) => weight === 'needed');
    expect(needed).toMatchObject([
      { what: '/proc of this pid namespace', fix: expect.stringContaining('mount -t proc proc /proc') },
    ]);
  });

  it('a pid namespace of its own', async () => {
    const document = await doctor(['unshare', '--pid', '--fork', '--mount-proc']);
    expect(document.possible).toBe(true);
    expect(refused(document)['initial pid namespace']).toMatchObject({
      weight: 'preferred',
      fix: expect.stringContaining('--pid=host'),
    });
  });

  it('too few open files', async () => {
    const limited = (most: number): string[] => ['sh', '-c', `ulimit -n ${most} && exec "$@"`, 'sh'];
    const document = await doctor(limited(100));
    expect(refused(document)['open files (RLIMIT_NOFILE)']).toMatchObject({
      weight: 'needed',
      problem: expect.stringMatching(/^100; /),
      fix: expect.stringContaining('ulimit -n 1024'),
    });
    // It tells of it where next to none may be open.
    expect(refused(await doctor(limited(40)))['open files (RLIMIT_NOFILE)']?.problem).toMatch(/^40; /);
    expect((await doctor(limited(1024))).possible).toBe(true);
  });

  it('no locked memory: since Linux 5.11 it does not matter', async () => {
    const nothing = ['sh', '-c', 'ulimit -l 0 && exec "$@"', 'sh', ...having('bpf', 'perfmon', 'net_admin')];
    expect((await doctor(nothing)).possible).toBe(true);
  });

  it('hidepid', async () => {
    const hide = 'mount -t proc -o hidepid=2 proc /proc';
    const name = 'all processes in /proc';
    const without = await doctor(prepared(hide, having('bpf', 'perfmon', 'net_admin')));
    expect(refused(without)[name]).toMatchObject({
      weight: 'preferred',
      fix: expect.stringContaining('CAP_SYS_PTRACE'),
    });
    expect(without.possible).toBe(true);
    expect(
      refused(await doctor(prepared(hide, having('bpf', 'perfmon', 'net_admin', 'sys_ptrace'))))[name],
    ).toBeUndefined();
  });
});

describe('odd systems', () => {
  it('no /proc: said by doctor, and by what needs it', async () => {
    const document = await doctor(prepared('umount -l /proc'));
    expect(refused(document)['/proc']).toMatchObject({ weight: 'needed', fix: 'mount -t proc proc /proc' });
    for (const args of [[], ['sockstat'], ['--pid', '1'], ['--all']]) {
      const { code, stdout, stderr } = await Socktrace.startUnder(prepared('umount -l /proc'), args).finished();
      expect(stderr).toMatch(/^socktrace: procfs is not mounted on \/proc/);
      expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    }
  });

  it('no /sys: the kernel types are missing, and nothing else is blamed', async () => {
    const document = await doctor(prepared('mount -t tmpfs none /sys'));
    const { 'kernel types (BTF)': types, ...others } = refused(document);
    expect(types?.fix).toContain('mount sysfs');
    const needed = Object.values(others).filter(({ weight }) => weight === 'needed');
    expect(new Set(needed.map(({ fix }) => fix))).toEqual(new Set(['see the kernel types (BTF) above']));
  });

  it('/sys read-only: a trace is possible', async () => {
    expect((await doctor(prepared('mount -o remount,ro /sys'))).possible).toBe(true);
  });

  it('run says so where not even its command can be started', async () => {
    const limited = ['sh', '-c', 'ulimit -n 20 && exec "$@"', 'sh'];
    const { code, stderr } = await Socktrace.startUnder(limited, ['run', '--', 'true']).finished();
    expect(stderr).toBe('socktrace: more files are needed than may be open (RLIMIT_NOFILE): ulimit -n 1024\n');
    expect(code).toBe(125);
  });

  it('a look and a trace that run out of descriptors say so', async () => {
    const limited = ['sh', '-c', 'ulimit -n 90 && exec "$@"', 'sh'];
    const { code, stdout, stderr } = await Socktrace.startUnder(limited, ['--pid', String(process.pid)]).finished();
    expect(stderr).toContain('EMFILE');
    expect(stderr).toContain('90 files open, and needs more: ulimit -n 1024');
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });
});
